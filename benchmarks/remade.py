"""Packages as today's exporter makes them, from packages of the zoo, without training and without their data.

The weights are those of the old graph. The activation ranges are measured on made-up texts, so that the answers differ
a little from those of a real export: the cost of the graph is the same, its quality is not measured.
"""

import hashlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

import onnx

from benchmarks.checkpoint import unpack
from benchmarks.texts import make_texts
from export.graphs.pruning import drop_unused, names_read
from export.graphs.quantization import prepare, quantize
from export.graphs.tracing import read_tensors, trace
from export.package import GRAPH_FILE, Package, open_package, write_manifest
from export.probes import record_probes
from export.session import Session
from models.atomic import atomic_write
from models.networks.loading import load_served

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "bench"
SOURCES = ("export/graphs", "export/decomposition", "models/networks")
"""Folders that decide what a graph looks like."""
CALIBRATION_TEXTS = 128


def remake(package: Package, *, kept: Path = FOLDER) -> Package:
    """The same model with today's graph; made once for each version of the exporter, and kept in the folder `kept`."""
    folder = kept / f"{package.manifest.name}-{_version(package)}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder) as unfinished:
            unfinished.mkdir()
            for name in package.manifest.files:
                shutil.copyfile(package.folder / name, unfinished / name)
            _write_graph(package, unfinished / GRAPH_FILE)
            session = Session(unfinished / GRAPH_FILE, pad_id=package.manifest.pad_id)
            inputs, outputs = read_tensors(unfinished / GRAPH_FILE)
            probes = record_probes(package.task, package.reader(), session)
            write_manifest(
                unfinished,
                package.manifest.model_copy(update={"inputs": inputs, "outputs": outputs, "probes": probes}),
            )
    return open_package(folder)


def write_without(graph: Path, outputs: Collection[str], out: Path) -> None:
    """Write a graph without some of its explanations: the control of what they cost where nobody asks for them.

    The flags of the other explanations stay where they were.
    """
    model = onnx.load(graph)
    content = model.graph
    kept = [output for output in content.output if output.name not in outputs]
    del content.output[:]
    content.output.extend(kept)
    drop_unused(model)
    read = {name for node in content.node for name in names_read(node)} | {output.name for output in kept}
    for node in content.node:
        # A node's last outputs were added for an explanation, unless they are read.
        while len(node.output) > 1 and node.output[-1] not in read:
            node.output.pop()
    inputs = [value for value in content.input if value.name in read]
    del content.input[:]
    content.input.extend(inputs)
    onnx.save(model, out)


def _write_graph(package: Package, out: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint, traced = Path(scratch) / "checkpoint", Path(scratch) / "traced.onnx"
        unpack(package.folder, checkpoint)
        trace(load_served(checkpoint, package.task.head), package.task.head, traced)
        reader = package.reader()
        rows = [reader.read(text).rows[0] for text in make_texts(CALIBRATION_TEXTS, seed=2)]
        calibration = prepare(traced, rows, Path(scratch))
        quantize(calibration, calibration.linears, out)


def _version(package: Package) -> str:
    """A digest of all that decides how the graph looks."""
    digest = hashlib.sha256(package.manifest.digest.encode())
    for name in ("onnxruntime", "optimum-onnx", "torch", "transformers"):
        digest.update(importlib.metadata.version(name).encode())
    for source in SOURCES:
        for file in sorted((ROOT / source).glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
