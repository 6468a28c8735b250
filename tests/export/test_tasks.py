"""Every task's checkpoint, really trained, becomes a package that keeps what its gates promise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from export.gates.parity import run_torch
from export.graphs.finishing import write_graph
from export.package import Manifest, read_manifest
from export.session import OUTPUTS, SHARES, Session
from export.verification import verify_package
from models.networks.loading import load_trained
from models.tasks import TASKS
from models.tasks.task import READ_AT_TOKENS, AnyTask, Head
from models.text import Reader, ReadingLimits, Row
from tests.tiny import make_tokenizer, outputs_of


@dataclass(frozen=True)
class Exported:
    """A task's data, the checkpoint trained on them, and its package."""

    task: AnyTask
    data: Path
    checkpoint: Path
    package: Path
    manifest: Manifest


@pytest.fixture(scope="module", params=list(TASKS))
def exported(request: pytest.FixtureRequest, made: Callable[[str], Path]) -> Exported:
    task, folder = TASKS[request.param], made(request.param)
    return Exported(task, folder / "data", folder / "trained", folder / "package", read_manifest(folder / "package"))


def test_it_is_int8_and_as_good_as_the_checkpoint(exported: Exported) -> None:
    manifest = exported.manifest
    assert (manifest.task, manifest.precision) == (exported.task.name, "int8")
    assert manifest.quality.metric == exported.task.main_metric
    assert manifest.quality.fp32 > 0.7  # else it would prove little


def test_its_graph_was_within_a_ten_thousandth_of_torch(exported: Exported) -> None:
    largest = exported.manifest.parity.largest_difference
    assert set(largest) == set(OUTPUTS)
    assert max(largest.values()) <= 1e-4


def test_its_rows_had_the_same_bits_alone_and_in_batches(exported: Exported) -> None:
    determinism = exported.manifest.determinism
    assert determinism.bit_equal
    assert determinism.rows >= 30


def test_it_holds_probes_that_a_short_model_can_read(exported: Exported) -> None:
    assert len(exported.manifest.probes) >= 6
    assert all(set(probe.outputs) == set(OUTPUTS) for probe in exported.manifest.probes)


def test_it_verifies_with_its_checkpoint_and_data(exported: Exported) -> None:
    report = verify_package(exported.package, checkpoint=exported.checkpoint, data=str(exported.data))
    assert [check.name for check in report.checks if not check.passed] == []
    assert {"probes", "quality", "weights", "parity"} <= {check.name for check in report.checks}


AXES: dict[Head, tuple[str, ...]] = {
    "sequence-classification": ("batch", "LABELS"),
    "multi-label-classification": ("batch", "LABELS"),
    "token-classification": ("batch", "sequence", "LABELS"),
    "multiple-choice": ("batch", "1"),
    "question-answering": ("batch", "sequence", "2"),
}


def test_its_outputs_have_the_axes_of_its_head(exported: Exported) -> None:
    labels = str(len(outputs_of(exported.task).labels))
    logits = tuple(labels if axis == "LABELS" else axis for axis in AXES[exported.task.head])
    assert {output.name: output.axes for output in exported.manifest.outputs} == {
        "logits": logits,
        "attention": ("batch", "sequence"),
        "rollout": ("batch", "sequence"),
        "decomposition": ("batch", "sequence"),
    }


def test_it_asks_where_to_read_only_where_answers_stand_at_tokens(exported: Exported) -> None:
    inputs = {tensor.name: tensor.axes for tensor in exported.manifest.inputs}
    assert inputs.pop("read_at", None) == (("batch",) if exported.task.head in READ_AT_TOKENS else None)
    labels = str(len(outputs_of(exported.task).labels))
    logits = tuple(labels if axis == "LABELS" else axis for axis in AXES[exported.task.head])
    assert (inputs.pop("target"), inputs.pop("explain")) == (("explained", *logits[1:]), ("3",))
    assert inputs == dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), ("batch", "sequence"))


def _rows(*read_at: int) -> list[Row]:
    """Rows of 9, 7 and 3 tokens, to be read there."""
    reader = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=64))
    texts = ("the film was good and it was", "a lovely plot , fine", "dull")
    return [replace(reader.read(text).rows[0], read_at=position) for text, position in zip(texts, read_at, strict=True)]


def _read_by_definition(layers: Sequence[torch.Tensor], position: int) -> dict[str, npt.NDArray[np.float64]]:
    """Attention of the last layer, and Abnar & Zuidema's rollout by whole matrices, of one row at a position."""
    means = [layer[0].double().mean(dim=0).numpy() for layer in layers]
    product = np.eye(len(means[0]))
    for mean in means:
        product = (0.5 * mean + 0.5 * np.eye(len(mean))) @ product
    return {"attention": means[-1][position], "rollout": product[position]}


@pytest.fixture(scope="module")
def fp32_graph(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "fp32.onnx"
    write_graph(load_trained(exported.checkpoint, exported.task.head), exported.task.head, path)
    return path


READING_ANYWHERE = [name for name, task in TASKS.items() if task.head in READ_AT_TOKENS]


@pytest.mark.parametrize("exported", READING_ANYWHERE, indirect=True)
@pytest.mark.parametrize("read_at", [(0, 0, 0), (1, 2, 1), (8, 6, 2), (4, 0, 1)])
def test_attention_and_rollout_are_read_where_they_are_asked_for(
    exported: Exported, fp32_graph: Path, read_at: tuple[int, int, int]
) -> None:
    model = load_trained(exported.checkpoint, exported.task.head)
    rows = _rows(*read_at)
    found = Session(fp32_graph, pad_id=0).run(rows, SHARES)
    torch_found = run_torch(model, exported.task.head, rows, 0)
    for number, row in enumerate(rows):
        with torch.inference_mode():
            ids, types = torch.tensor([row.ids]), torch.tensor([row.type_ids])
            layers = model(input_ids=ids, token_type_ids=types, output_attentions=True).attentions
        for name, expected in _read_by_definition(layers, row.read_at).items():
            np.testing.assert_allclose(found[number][name], expected, atol=1e-5)  # float32 against float64
            np.testing.assert_allclose(torch_found[name][number, : len(row)], expected, atol=1e-5)
            assert not torch_found[name][number, len(row) :].any()
