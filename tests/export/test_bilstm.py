"""A BiLSTM's package: the same gates, without a rollout."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from export.card import ORT_CLASSES
from export.gates.determinism import Differences, find_differences
from export.graphs.finishing import write_graph
from export.package import Manifest, open_package, read_manifest
from export.probes import rows_of_many_lengths
from export.session import Session
from export.verification import verify_package
from models.networks.bilstm import BilstmConfig, BilstmForSequenceClassification
from models.networks.loading import load_trained
from models.tasks import find_task
from models.text import Row, pad

TASKS = ["sentiment", "nli", "sts"]
"""One of each kind that a BiLSTM can be trained for and that the zoo has."""


@pytest.fixture(scope="module", params=TASKS)
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def manifest(task: str, made_bilstm: Callable[[str], Path]) -> Manifest:
    return read_manifest(made_bilstm(task) / "package")


def test_it_is_int8_and_as_good_as_the_checkpoint(manifest: Manifest) -> None:
    assert manifest.precision == "int8"
    assert manifest.quality.fp32 > 0.7  # else it would prove little
    assert not manifest.quality.excluded_nodes


def test_it_gives_logits_and_attention_only(manifest: Manifest) -> None:
    assert {output.name: output.axes for output in manifest.outputs} == {
        "logits": ("batch", str(len(manifest.labels))),
        "attention": ("batch", "sequence"),
        "decomposition": ("batch", "sequence"),
    }
    assert all(set(probe.outputs) == {"logits", "attention", "decomposition"} for probe in manifest.probes)


def test_it_takes_segments_only_where_it_reads_pairs(task: str, manifest: Manifest) -> None:
    segments = [] if task == "sentiment" else ["token_type_ids"]
    texts, explaining = manifest.inputs[:-2], manifest.inputs[-2:]
    assert [tensor.name for tensor in texts] == ["input_ids", "attention_mask", *segments]
    assert all(tensor.axes == ("batch", "sequence") for tensor in texts)
    assert [tensor.name for tensor in explaining] == ["target", "explain"]


def test_its_rows_had_the_same_bits_alone_and_in_batches(manifest: Manifest) -> None:
    assert manifest.determinism.bit_equal
    assert manifest.determinism.rows >= 30


def test_it_verifies_with_its_checkpoint_and_data(task: str, made_bilstm: Callable[[str], Path]) -> None:
    folder = made_bilstm(task)
    report = verify_package(folder / "package", checkpoint=folder / "trained", data=str(folder / "data"))
    assert [check.name for check in report.checks if not check.passed] == []
    assert {"probes", "determinism", "explanations", "quality", "weights", "parity"} <= {
        check.name for check in report.checks
    }


def test_its_card_offers_no_class_of_optimums_and_holds_its_settings(
    manifest: Manifest, task: str, made_bilstm: Callable[[str], Path]
) -> None:
    card = (made_bilstm(task) / "package" / "README.md").read_text()
    assert not any(name in card for name in ORT_CLASSES.values())
    assert 'base = "bilstm"' in card
    assert "[bilstm]\nmin_documents = 1\nword_width = 16\nstate_width = 8\n" in card
    assert len(manifest.probes) >= 6


@pytest.mark.parametrize("width", [3, 16, 128])
@pytest.mark.parametrize("pairs", [False, True], ids=["single", "pair"])
def test_an_fp32_graph_gives_a_row_the_same_bits_alone_and_in_batches(
    width: int, pairs: bool, made_bilstm: Callable[[str], Path], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    task = find_task("nli" if pairs else "sentiment")
    config = BilstmConfig(vocab_size=60, word_width=20, state_width=width, reads_pairs=pairs)
    write_graph(BilstmForSequenceClassification(config).eval(), "sequence-classification", tmp_path / "fp32.onnx")
    rows = rows_of_many_lengths(task, open_package(made_bilstm(task.name) / "package").reader())
    assert find_differences(Session(tmp_path / "fp32.onnx", pad_id=0), rows) == Differences(set(), 0.0)


def _rows(folder: Path, task: str, lengths: tuple[int, ...]) -> list[Row]:
    reader = open_package(folder / "package").reader()
    texts = [
        " ".join(["the", "good", "plot", "was", "bad"][number % 5] for number in range(length)) for length in lengths
    ]
    if task == "sentiment":
        return [reader.read(text).rows[0] for text in texts]
    return [reader.read_pair({"a": text, "b": "the film"}).rows[0] for text in texts]


@pytest.mark.parametrize("lengths", [(1,), (1, 1, 1), (2, 9, 1), (5, 5), (17, 3, 30, 1, 8, 8, 2)])
def test_its_graph_reads_any_batch_as_torch_does(
    lengths: tuple[int, ...], task: str, made_bilstm: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = made_bilstm(task)
    model = load_trained(folder / "trained", "sequence-classification")
    write_graph(model, "sequence-classification", tmp_path / "fp32.onnx")
    rows = _rows(folder, task, lengths)
    session = Session(tmp_path / "fp32.onnx", pad_id=0)
    assert session.outputs == ("logits", "attention", "decomposition")
    found = session.run(rows, session.outputs)
    for row, arrays in zip(rows, found, strict=True):
        alone = {name: torch.from_numpy(array) for name, array in pad([row], 0).items() if name != "read_at"}
        with torch.inference_mode():
            expected = model(**alone)
        np.testing.assert_allclose(arrays["logits"], expected.logits[0], atol=1e-5)  # float32 sums in another order
        np.testing.assert_allclose(arrays["attention"], expected.attentions[0][0, 0, 0], atol=1e-5)
