"""The gate on what int8 costs, on checkpoints that int8 really harms."""

import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from export.build import export_checkpoint
from export.gates.quality import AGREEMENT, by_agreement
from export.importing.build import import_checkpoint
from export.origin import Origin
from export.package import Manifest
from models.evaluation import EvaluatedModel
from models.tasks.texts.made import make_items
from tests.export.conftest import copied
from tests.export.importing.test_stock import settings

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


def test_without_records_int8_must_give_the_answers_of_fp32_to_made_up_texts(checkpoint: Path, tmp_path: Path) -> None:
    found: dict[str, Manifest] = {}
    for name, change in (("product", _with_outliers_before_a_product), ("tables", _with_outliers_in_the_tables)):
        (tmp_path / name).mkdir()
        harmed = _changed(checkpoint, tmp_path / name, change)
        found[name] = import_checkpoint(settings(harmed, "sentiment"), tmp_path / name / "package")
    assert (found["product"].precision, found["tables"].precision) == ("int8", "fp32")
    assert len(found["product"].quality.excluded_nodes) == 1
    assert found["product"].quality.exported >= 0.98
    assert found["tables"].quality.best_int8 is not None
    assert found["tables"].quality.best_int8 < 0.98
    assert {manifest.quality.measured for manifest in found.values()} == {False}


class _Counted(Origin):
    """Notes the graphs that are measured."""

    def evaluated(self, graph: Path) -> EvaluatedModel:
        with (self.folder / "measured").open("a") as noted:
            noted.write(f"{graph.name}\n")
        return super().evaluated(graph)


def test_answers_of_fp32_are_computed_once_to_compare_others_with_them(
    origin: Origin, graph: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copy(graph, tmp_path / "other.onnx"))
    counted = _Counted(
        folder=tmp_path, record=origin.record, task=origin.task, reader=origin.reader, pad_id=origin.pad_id
    )
    yardstick = by_agreement(counted, graph, make_items(origin.task, origin.reader, 20))
    assert [yardstick.measure(one) for one in (graph, other, graph)] == [{AGREEMENT: 1.0}] * 3
    assert (tmp_path / "measured").read_text().split() == [graph.name, other.name]
