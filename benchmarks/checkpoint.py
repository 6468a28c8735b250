"""`python -m benchmarks.checkpoint`: makes a checkpoint of a package, so that it can be exported again untrained.

The weights are those of the package's graph, int8 ones times their scales. Together with the same data, a newer
exporter is thus measured on the very model that an older one exported.
"""

import re
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
import typer
from onnx import numpy_helper
from torch import Tensor, nn

from export.card import CARD_FILE, UNPACKED_FROM
from export.origin import CONFIG_FILES
from export.package import GRAPH_FILE, TOKENIZER_FILE, Manifest, open_package
from models.atomic import atomic_write
from models.checkpoint import RECORD_FILE, EpochRecord, TrainingRecord
from models.errors import UserError
from models.networks.loading import AUTO_CLASSES, load_config
from models.training.saving import RECORDED_APART
from models.training.settings import TrainingSettings

Floats = npt.NDArray[np.float32]

app = typer.Typer()


class CannotUnpack(UserError):
    """A package from which no checkpoint can be made."""


@app.command()
def main(
    package: Annotated[Path, typer.Argument(help="Package to take the weights from.")],
    out: Annotated[Path, typer.Argument(help="Folder to write the checkpoint to. It must not exist.")],
    data: Annotated[
        str | None, typer.Option(help="Folder or hub data set of the training; the record will name it.")
    ] = None,
) -> None:
    """Make a checkpoint of a package of `steadfast export`."""
    try:
        unpack(package, out, data=data)
    except UserError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def unpack(package: Path, out: Path, *, data: str | None = None) -> None:
    """Write the checkpoint `out` with the weights in a package's graph; `data` is where its data set lies now.

    Raises:
        CannotUnpack: `out` exists, or the graph is not of a stock model that consists of linear layers, tables and
            LayerNorm.
        PackageError, EncoderError: the package is damaged or lacks a file.
    """
    if out.exists():
        raise CannotUnpack(f"{out}: exists already; choose another name or remove it")
    opened = open_package(package)
    model = AUTO_CLASSES[opened.task.head].from_config(load_config(package))
    try:
        model.load_state_dict(read_weights(onnx.load(package / GRAPH_FILE).graph, model))
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CannotUnpack(
            f"{package}: its graph lacks weights of the model ({reason}); packages of stock transformers work"
        ) from error
    record = make_record(opened.manifest, (package / CARD_FILE).read_text(encoding="utf-8"), data)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out) as unfinished:
        model.save_pretrained(unfinished)
        for file in (TOKENIZER_FILE, *CONFIG_FILES):
            shutil.copyfile(package / file, unfinished / file)
        (unfinished / RECORD_FILE).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_weights(graph: onnx.GraphProto, model: nn.Module) -> dict[str, Tensor]:
    """The weights in a graph, in fp32, by their names in `model`.

    Most keep their names in the graph, after `model.`. A matrix that torch transposed as it wrote the graph has a
    number for a name, but the `MatMul` that reads it is named after its layer.

    Raises:
        KeyError: the graph lacks one.
    """
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    factors = {node.name.replace("/", "."): node.input[1] for node in graph.node if node.op_type.startswith("MatMul")}

    def read(name: str) -> Floats:
        named = f"model.{name}"
        if named in arrays or f"{named}_quantized" in arrays:
            return _dequantize(arrays, named, by_row=True)
        factor = factors[f".{named.removesuffix('.weight')}.MatMul"]
        return _dequantize(arrays, re.sub("(_DequantizeLinear_Output|_quantized)$", "", factor), by_row=False).T

    return {name: torch.from_numpy(read(name)) for name in model.state_dict()}


def _dequantize(arrays: Mapping[str, npt.NDArray[Any]], name: str, *, by_row: bool) -> Floats:
    """An array of a graph in fp32. A quantised matrix has a scale for each row or for each column."""
    if name in arrays:
        return arrays[name].astype(np.float32)
    quantized: Floats = arrays[f"{name}_quantized"].astype(np.float32)
    # ONNX Runtime puts another ending on the scale of a bias. Weights are symmetric, so that no zero point is needed.
    scale: Floats = arrays[f"{name}_quantized_scale" if f"{name}_quantized_scale" in arrays else f"{name}_scale"]
    return np.multiply(quantized, scale.reshape(-1, 1) if by_row and quantized.ndim == 2 else scale)


def make_record(manifest: Manifest, card: str, data: str | None) -> TrainingRecord:
    """The record of the training that a package came from: what its manifest says, and the settings on its card.

    Raises:
        CannotUnpack: the card shows no settings.
    """
    shown = re.search(r"```toml\n(.*?)```", card, re.DOTALL)
    if shown is None:
        raise CannotUnpack(f"the card of {manifest.name} shows no settings; export the package again")
    settings = TrainingSettings.model_validate(tomllib.loads(shown[1]))
    source = settings.source if data is None else settings.source.model_copy(update={"data": data})
    epoch = re.search(r"epoch (\d+) \|", card)
    kept = int(epoch[1]) if epoch else settings.all_epochs
    return TrainingRecord(
        task=manifest.task,
        **vars(manifest.meaning),
        blindness=manifest.blindness,
        method=manifest.method,
        base=manifest.base,
        max_tokens=manifest.max_tokens,
        settings=settings.model_dump(mode="json", exclude=set(RECORDED_APART))
        | {"bf16": settings.precision == "bf16", UNPACKED_FROM: manifest.digest},
        seed=settings.seed,
        source=source,
        data=manifest.data,
        epochs=(EpochRecord(epoch=kept, losses={}, metrics=manifest.metrics[source.validation]),),
        kept_epoch=kept,
        licences=manifest.licences,
        versions=manifest.versions,
    )


if __name__ == "__main__":
    app()
