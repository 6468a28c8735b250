"""A checkpoint made of a package: its weights, its record, and the package that is exported from it again."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.checkpoint import CannotUnpack, unpack
from export.build import export_checkpoint
from export.package import open_package
from models.checkpoint import read_record

INT8_STEP = 1 / 64
"""A step between the values of a 7-bit weight, in units of the largest weight of its output."""


@pytest.fixture(scope="module")
def unpacked(made: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    def unpack_once(task: str) -> Path:
        out = tmp_path_factory.getbasetemp() / "unpacked" / task
        if not out.exists():
            unpack(made(task) / "package", out, data=str(made(task) / "data"))
        return out

    return unpack_once


# The first has a pooler, the second has none and a head at every token.
@pytest.mark.parametrize("task", ["sentiment", "ner"])
def test_every_weight_is_within_half_a_step_of_the_trained_one(
    made: Callable[[str], Path], unpacked: Callable[[str], Path], task: str
) -> None:
    trained = load_file(made(task) / "trained" / "model.safetensors")
    found = load_file(unpacked(task) / "model.safetensors")
    assert found.keys() == trained.keys()
    for name, weight in trained.items():
        half_step = weight.abs().amax(dim=-1, keepdim=True) * INT8_STEP / 2
        # fp32 rounds the quotients that are rounded to steps. Biases have steps of their own, far smaller ones.
        allowed = half_step * 1.001 if weight.dim() == 2 else torch.tensor(1e-3)
        assert bool(((found[name] - weight).abs() <= allowed).all()), name


def test_the_record_is_that_of_the_training(made: Callable[[str], Path], unpacked: Callable[[str], Path]) -> None:
    trained, found = read_record(made("sentiment") / "trained"), read_record(unpacked("sentiment"))
    of_the_weights = {"settings", "epochs", "versions", "steps", "cpu_s"}
    assert found.model_dump(exclude=of_the_weights) == trained.model_dump(exclude=of_the_weights)
    shared = found.settings.keys() & trained.settings.keys()
    assert {name: found.settings[name] for name in shared} == {name: trained.settings[name] for name in shared}


def test_a_package_exported_from_it_has_the_same_int8_weights(
    made: Callable[[str], Path], unpacked: Callable[[str], Path], tmp_path: Path
) -> None:
    export_checkpoint(unpacked("sentiment"), tmp_path / "again")
    taken_from = open_package(made("sentiment") / "package").manifest.digest
    assert f"those of the package `{taken_from}`" in (tmp_path / "again" / "README.md").read_text()
    first, again = (_int8_matrices(folder) for folder in (made("sentiment") / "package", tmp_path / "again"))
    assert first == again


def test_a_folder_that_exists_is_not_replaced(made: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(CannotUnpack, match=r"exists already; choose another name or remove it$"):
        unpack(made("sentiment") / "package", tmp_path)


def test_a_package_of_another_kind_of_model_is_refused(made_bilstm: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(CannotUnpack, match=r"its graph lacks weights of the model \(.*lstm"):
        unpack(made_bilstm("sentiment") / "package", tmp_path / "out")


def _int8_matrices(package: Path) -> dict[str, bytes]:
    tensors = onnx.load(open_package(package).graph).graph.initializer
    return {
        tensor.name: tensor.raw_data
        for tensor in tensors
        if tensor.name.endswith("_quantized") and len(tensor.dims) == 2
    }
