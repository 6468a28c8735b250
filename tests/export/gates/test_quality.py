"""The gate on what int8 costs, on checkpoints that int8 really harms."""

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from export.build import export_checkpoint
from export.package import Manifest
from tests.export.conftest import copied

HUGE = 30_000
"""A range this wide makes everything else in it round to nothing."""


def _with_outliers_before_a_product(weights: dict[str, Tensor]) -> None:
    """A huge number in the last layer's attention output, of which the next product takes no notice."""
    attention = "bert.encoder.layer.1.attention"
    weights[f"{attention}.self.value.weight"][0] = 0
    weights[f"{attention}.self.value.bias"][0] = HUGE
    weights[f"{attention}.output.dense.weight"][:, 0] = 0


def _with_outliers_in_the_tables(weights: dict[str, Tensor]) -> None:
    """Huge numbers in two embedding tables, which cancel each other."""
    weights["bert.embeddings.word_embeddings.weight"][:, 0] = HUGE
    weights["bert.embeddings.position_embeddings.weight"][:, 0] = -HUGE


def _changed(checkpoint: Path, into: Path, change: Callable[[dict[str, Tensor]], None]) -> Path:
    folder = copied(checkpoint, into)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _export(checkpoint: Path, out: Path) -> tuple[Manifest, list[str]]:
    said: list[str] = []
    return export_checkpoint(checkpoint, out, say=said.append), said


def test_the_node_that_int8_harms_stays_fp32_and_the_manifest_names_it(checkpoint: Path, tmp_path: Path) -> None:
    harmed = _changed(checkpoint, tmp_path, _with_outliers_before_a_product)
    manifest, _ = _export(harmed, tmp_path / "package")
    assert manifest.precision == "int8"
    assert [name.rpartition("bert/")[2] for name in manifest.quality.excluded_nodes] == [
        "encoder/layer.1/attention/output/dense/MatMul"
    ]
    assert manifest.quality.exported >= manifest.quality.fp32 - 0.005


def test_where_no_excluded_node_helps_fp32_is_shipped_and_said_so(checkpoint: Path, tmp_path: Path) -> None:
    harmed = _changed(checkpoint, tmp_path, _with_outliers_in_the_tables)
    manifest, said = _export(harmed, tmp_path / "package")
    assert (manifest.precision, manifest.quality.exported) == ("fp32", manifest.quality.fp32)
    assert manifest.quality.best_int8 is not None
    assert manifest.quality.best_int8 < manifest.quality.fp32 - 0.005
    assert "int8 costs more than 0.005 of accuracy in every variant: the package is fp32" in said
    assert "Nothing is quantised: int8 reached only accuracy" in (tmp_path / "package" / "README.md").read_text()


def test_a_harmless_int8_is_shipped_whole(package: Path) -> None:
    manifest = Manifest.model_validate_json((package / "package.json").read_bytes())
    assert manifest.precision == "int8"
    assert manifest.quality.excluded_nodes == ()
    assert manifest.quality.calibration_rows == 512
