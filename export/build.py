"""`steadfast export`: makes PACKAGE/ from CHECKPOINT/ if every gate lets the graph pass; else it makes nothing."""

import importlib.metadata
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from export.card import CARD_FILE, write_card
from export.figures.requirements import Requirement, check_requirements
from export.gates.consistency import check_shares
from export.gates.determinism import check_determinism
from export.gates.parity import check_parity
from export.gates.quality import ChosenGraph, by_agreement, by_right_answers, check_fp16, choose_int8, keep_fp32
from export.graphs.finishing import write_fp32
from export.graphs.half import write_half
from export.graphs.quantization import prepare
from export.graphs.storage import copy_graph
from export.graphs.tracing import read_tensors, trace
from export.origin import CONFIG_FILES, Evidence, Origin, open_origin, training_evidence
from export.package import (
    FALLBACK_FILE,
    GRAPH_FILE,
    MANIFEST_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    DeterminismReport,
    Manifest,
    ParityReport,
    Precision,
    Probe,
    Twin,
    file_digest,
    write_manifest,
)
from export.preconditions import check_request, read_exportable, read_twins, variant_of
from export.probes import record_probes, rows_of_many_lengths
from export.publishing import MeasurePackage, publish, workplace
from export.session import Session
from models.checkpoint import TrainingRecord
from models.progress import Say
from models.tables import format_count
from models.tokenizer import without_padding

TRACED = "traced.onnx"


LIBRARIES = ("numpy", "onnx", "onnxruntime", "optimum-onnx", "tokenizers", "torch", "transformers")


@dataclass(frozen=True, kw_only=True)
class PackageForm:
    """Choices that a package can be made by, beside its precision."""

    portable: bool = False
    """Standard ONNX operators only, for other providers than ONNX Runtime's CPU."""
    with_fp32: bool = False
    """Add the fp32 graph, which answers on machines where the int8 graph gives other results."""
    correct: bool = False
    """Correct texts before they are read, also where the checkpoint was trained without."""


USUAL = PackageForm()


def export_checkpoint(
    checkpoint: Path,
    out: Path,
    *,
    precision: Precision = "int8",
    form: PackageForm = USUAL,
    name: str | None = None,
    data: str | None = None,
    twins: Sequence[Path] = (),
    measure: MeasurePackage | None = None,
    requirements: Sequence[Requirement] = (),
    say: Say = lambda _: None,
) -> Manifest:
    """Make the package `out` from a checkpoint; `data` is the place of its data set, if that has moved.

    `twins` are packages of the same training by other methods or with other noise; the manifest holds their figures for
    comparison. `measure` is called with the folder of the package before it is moved to `out`, and `requirements` are
    checked on what the package then says of itself.

    Where int8 costs too much of the task's metric, the package is fp32 and its manifest says so.

    Raises:
        ExportError: `out` exists, `name` cannot be used, a twin does not match, or a gate refuses the graph.
        FallsShort: the package does not meet a requirement.
        CheckpointError, EncoderError, DataError: the checkpoint or its data cannot be read.
        WordNetError: correcting needs WordNet, and it is not installed here.
    """
    check_request(checkpoint, out, name=name, data=data, twins=twins, correct=form.correct)
    origin = open_origin(checkpoint, correct=form.correct, data=data)
    record = read_exportable(checkpoint)
    compared = read_twins(twins, record, variant_of(record, correct=form.correct))
    evidence = training_evidence(origin, data)
    with workplace(out) as work:
        folder, manifest = make_package(
            origin, evidence, work, precision=precision, form=form, name=name, twins=compared, say=say
        )
        if measure is not None:
            manifest = state_measured(folder, origin, manifest, measure, say)
        check_requirements(manifest, requirements, origin=str(out))
        publish(folder, out, say, is_gated=True)
    return manifest


def make_package(
    origin: Origin,
    evidence: Evidence,
    work: Path,
    *,
    precision: Precision,
    form: PackageForm,
    name: str | None,
    say: Say,
    twins: tuple[Twin, ...] = (),
) -> tuple[Path, Manifest]:
    """Make a package in a folder of `work` from a graph that every gate let pass; `publish` moves it to its place.

    Raises:
        ExportError: a gate refuses the graph.
        DataError, EncoderError: the evidence or the model cannot be read.
    """
    checked = _pass_gates(origin, evidence, work, precision, form, say)
    folder = work / "package"
    folder.mkdir()
    return folder, _fill(folder, origin, checked, name or origin.task.name, twins, portable=form.portable)


def state_measured(folder: Path, origin: Origin, manifest: Manifest, measure: MeasurePackage, say: Say) -> Manifest:
    """Measure the finished package in `folder`, and state what was found in its manifest and its card."""
    say("measuring the package")
    return _seal(folder, origin, manifest.model_copy(update=measure(folder).for_manifest()))


@dataclass(frozen=True, kw_only=True)
class _CheckedGraph:
    """A graph that every gate let pass, with the gates' reports."""

    chosen: ChosenGraph
    parity: ParityReport
    determinism: DeterminismReport
    probes: tuple[Probe, ...]
    fallback: Path | None
    """The fp32 graph, where it is added to the package of another graph."""
    fallback_probes: tuple[Probe, ...]


def _pass_gates(
    origin: Origin, evidence: Evidence, work: Path, precision: Precision, form: PackageForm, say: Say
) -> _CheckedGraph:
    rows = rows_of_many_lengths(origin.task, origin.reader)
    traced, fp32 = work / TRACED, work / "fp32.onnx"
    say(f"writing the graph of {origin.folder if isinstance(origin.record, TrainingRecord) else origin.record.base}")
    model = origin.load()
    trace(model, origin.task.head, traced)
    write_fp32(traced, fp32, portable=form.portable)
    parity = check_parity(model, origin.task.head, fp32, rows, origin.pad_id)
    say(f"the graph is within {max(parity.largest_difference.values()):.1g} of torch")
    if "decomposition" not in parity.largest_difference:
        say("its answers cannot be explained by decomposition: the model computes something that has no rule for it")
    chosen = _choose(origin, evidence, fp32, precision, portable=form.portable, say=say)
    session = Session(chosen.graph, pad_id=origin.pad_id)
    determinism = check_determinism(session, rows)
    check_shares(session, rows)
    say(f"{format_count(determinism.rows, 'row')} with the same logits alone, batched and padded")
    fallback = fp32 if form.with_fp32 and chosen.precision != "fp32" else None
    return _CheckedGraph(
        chosen=chosen,
        parity=parity,
        determinism=determinism,
        probes=record_probes(origin.task, origin.reader, session),
        fallback=fallback,
        fallback_probes=record_probes(origin.task, origin.reader, Session(fallback, pad_id=origin.pad_id))
        if fallback
        else (),
    )


def _choose(
    origin: Origin, evidence: Evidence, fp32: Path, precision: Precision, *, portable: bool, say: Say
) -> ChosenGraph:
    traced = fp32.with_name(TRACED)
    yardstick = (
        by_agreement(origin, fp32, evidence.texts())
        if evidence.validation is None
        else by_right_answers(origin, evidence.validation().examples)
    )
    if precision == "fp32":
        return keep_fp32(fp32, yardstick)
    if precision == "fp16":
        half = fp32.with_name("fp16.onnx")
        write_half(traced, half, portable=portable)
        say("measuring the graph in fp32 and in fp16")
        return check_fp16(fp32, half, yardstick)
    rows = evidence.calibration()
    say(f"quantising, with activation ranges from {format_count(len(rows), evidence.source)}")
    calibration = prepare(traced, rows, fp32.parent, portable=portable)
    return choose_int8(origin, fp32, calibration, yardstick, say)


def _fill(
    folder: Path, origin: Origin, checked: _CheckedGraph, name: str, twins: tuple[Twin, ...], *, portable: bool
) -> Manifest:
    """Write every file of the package to `folder`; the manifest, with the digests of the others, comes last."""
    copy_graph(checked.chosen.graph, folder / GRAPH_FILE)
    if checked.fallback:
        copy_graph(checked.fallback, folder / FALLBACK_FILE)
    for file in CONFIG_FILES:
        shutil.copyfile(origin.folder / file, folder / file)
    tokenizer = without_padding(Tokenizer.from_file(str(origin.folder / TOKENIZER_FILE)))
    tokenizer.save(str(folder / TOKENIZER_FILE), pretty=False)
    if origin.correction:
        origin.correction.write(folder)
    manifest = _manifest(folder / GRAPH_FILE, origin, checked, name, twins)
    return _seal(folder, origin, manifest.model_copy(update={"portable": portable}))


def _seal(folder: Path, origin: Origin, manifest: Manifest) -> Manifest:
    """Write the card, and then the manifest with the digests of all other files; returns it with its own."""
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    graph_bytes = sum(path.stat().st_size for path in folder.glob(f"{GRAPH_FILE}*"))
    card = write_card(manifest, origin.record, origin.task.head, graph_bytes)
    (folder / CARD_FILE).write_text(card, encoding="utf-8")
    return write_manifest(folder, manifest)


def _manifest(graph: Path, origin: Origin, checked: _CheckedGraph, name: str, twins: tuple[Twin, ...]) -> Manifest:
    record = origin.record
    inputs, outputs = read_tensors(graph)
    return Manifest(
        name=name,
        task=record.task,
        **vars(record.outputs),
        method=record.method,
        noise=record.noise,
        base=record.base,
        weights=file_digest(origin.folder / WEIGHTS_FILE),
        precision=checked.chosen.precision,
        max_tokens=record.max_tokens,
        pad_id=origin.pad_id,
        correction=origin.correction.kind if origin.correction else None,
        blindness=record.blindness if isinstance(record, TrainingRecord) else 0.0,
        inputs=inputs,
        outputs=outputs,
        files={},
        parity=checked.parity,
        quality=checked.chosen.quality,
        determinism=checked.determinism,
        metrics=_metrics(origin, checked.chosen),
        twins=twins,
        probes=checked.probes,
        fallback_probes=checked.fallback_probes,
        data=record.data,
        layout=record.layout,
        licences=record.licences,
        versions=_versions(),
    )


def _metrics(origin: Origin, chosen: ChosenGraph) -> dict[str, dict[str, float]]:
    """By the name of the validation part, its metrics; nothing where there is none."""
    return {file.name: chosen.metrics for file in origin.record.data if file.part == "validation"}


def _versions() -> dict[str, str]:
    return {library: importlib.metadata.version(library) for library in LIBRARIES} | {"machine": platform.machine()}
