"""Every family: trained for an epoch, exported through all gates, and served; the logits are the stock model's."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession
from transformers import AutoModelForSequenceClassification

from export.build import export_checkpoint
from export.gates.consistency import check_shares
from export.gates.determinism import check_determinism
from export.gates.parity import TOLERANCE, check_parity
from export.graphs.finishing import write_graph
from export.package import open_package
from export.probes import rows_of_many_lengths
from export.session import OUTPUTS, Session
from models.networks.bilstm import BilstmConfig, BilstmForSequenceClassification
from models.networks.families import reads_segments
from models.networks.loading import AUTO_CLASSES
from models.tasks import TASKS
from models.text import Reader, ReadingLimits, Row, pad
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import check_settings
from steadfast import load
from tests.models.passes import FAMILIES, make_config
from tests.tiny import make_texts, write_sentiment
from tests.tiny_families import make_family_base, make_family_tokenizer

SHAPES = ((1, 3), (1, 9), (2, 5), (3, 14), (5, 7), (8, 11))
"""Rows of a batch, and words of its longest text."""

DOCUMENTED = Path(__file__).parents[2] / "docs" / "encoders.md"

QUIET = Watcher(say=lambda _: None, advance=lambda *_: None)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A family, and the folder with its checkpoint `trained` and its `package`."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = {
        "task": "sentiment",
        "base": str(make_family_base(folder / "base", request.param)),
        "source": {"data": str(write_sentiment(folder / "data", train=24, validation=8))},
        "epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "max_tokens": 64, "precision": "fp32", "seed": 1,
    }  # fmt: skip
    record = train(check_settings(settings), folder / "trained", QUIET)
    assert math.isfinite(record.epochs[0].losses["task"])
    export_checkpoint(folder / "trained", folder / "package")
    export_checkpoint(folder / "trained", folder / "fp32", precision="fp32")
    return request.param, folder


def test_it_passes_every_gate_with_every_explanation(family: tuple[str, Path]) -> None:
    name, folder = family
    manifest = open_package(folder / "package").manifest
    assert manifest.precision == "int8" or manifest.quality.best_int8 is not None
    assert manifest.determinism.bit_equal
    found = re.search(rf"^\| `{name}` \|(?:[^|]*\|){{3}} ([^|]*) \|", DOCUMENTED.read_text(), re.MULTILINE)
    assert found
    missing = set() if found[1] == "yes" else {"decomposition"}
    assert set(manifest.parity.largest_difference) == set(OUTPUTS) - missing


def test_a_bilstm_has_every_explanation_but_rollout(tmp_path: Path) -> None:
    config = BilstmConfig(vocab_size=20, word_width=8, state_width=6, reads_pairs=False, num_labels=3)
    write_graph(BilstmForSequenceClassification(config).eval(), "sequence-classification", tmp_path / "graph.onnx")
    outputs = [output.name for output in InferenceSession(str(tmp_path / "graph.onnx")).get_outputs()]
    assert outputs == ["logits", "attention", "decomposition"]
    found = re.search(r"^\| `bilstm-attention` \|(?:[^|]*\|){3} yes \|", DOCUMENTED.read_text(), re.MULTILINE)
    assert found


def test_its_graph_gives_the_stock_models_logits(family: tuple[str, Path]) -> None:
    name, folder = family
    package = open_package(folder / "fp32")
    session = Session(package.graph, pad_id=package.manifest.pad_id)
    stock = AutoModelForSequenceClassification.from_pretrained(folder / "trained").eval()
    assert stock.config.model_type == name
    reader = package.reader()
    texts = [text for text, _ in make_texts(400, seed=9)]
    for count, words in SHAPES:
        longest = next(text for text in texts if len(text.split()) in (words, words - 1))
        others = [text for text in texts if len(text.split()) < words]
        rows = [row for text in [longest, *others[: count - 1]] for row in reader.read(text).rows]
        found = np.stack([arrays["logits"] for arrays in session.run(rows, ("logits",))])
        np.testing.assert_allclose(found, _stock(stock, rows, package.manifest.pad_id), atol=TOLERANCE)


def _stock(model: torch.nn.Module, rows: list[Row], pad_id: int) -> np.ndarray:
    arrays = pad(rows, pad_id)
    wanted = ["input_ids", "attention_mask", *(["token_type_ids"] if reads_segments(model.config) else [])]
    with torch.inference_mode():
        logits: torch.Tensor = model(**{name: torch.from_numpy(arrays[name]) for name in wanted}).logits
    return logits.numpy()


def test_its_answers_are_explained_by_the_words_of_the_text(family: tuple[str, Path]) -> None:
    _, folder = family
    text = "The film was  good, and the plot!"
    words = ["The", "film", "was", "good", ",", "and", "the", "plot", "!"]
    with load("sentiment", package=folder / "package") as model:
        (result,) = model.score([text], explain="rollout")
    assert result.explanation is not None
    assert [unit.text for unit in result.explanation.items] == words
    assert [text[unit.start : unit.end] for unit in result.explanation.items] == words


def test_a_head_that_reads_the_mean_is_explained_by_the_attention_of_all_tokens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = make_config("modernbert", classifier_pooling="mean")
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    write_graph(model, "sequence-classification", tmp_path / "graph.onnx")
    arrays = {"input_ids": np.array([[5, 6, 7, 8], [9, 10, 0, 0]]), "attention_mask": np.array([[1] * 4, [1, 1, 0, 0]])}
    with torch.inference_mode():
        output = model(**{name: torch.from_numpy(one) for name, one in arrays.items()}, output_attentions=True)
    layers = [one.double().mean(1).numpy() for one in output.attentions]
    read = arrays["attention_mask"] / arrays["attention_mask"].sum(1, keepdims=True)
    expected = {
        "logits": output.logits.numpy(),
        "attention": np.einsum("bq,bqk->bk", read, layers[-1]),
        "rollout": read,
    }
    for layer in reversed(layers):
        expected["rollout"] = (np.einsum("bq,bqk->bk", expected["rollout"], layer) + expected["rollout"]) / 2
    graph = InferenceSession(str(tmp_path / "graph.onnx"))
    found = graph.run(list(expected), {**arrays, "explain": np.array([True, True, False])})
    for name, values in zip(expected, found, strict=True):
        np.testing.assert_allclose(values, expected[name], atol=1e-5)  # float32 sums in another order


@pytest.mark.parametrize("name", ["distilbert", "mpnet", "albert", "deberta-v2", "modernbert"])
@pytest.mark.parametrize("task", ["ner", "reading-comprehension", "extractive-reading-comprehension", "paraphrase"])
def test_every_head_of_a_family_that_is_traced_as_it_is_passes_the_gates(name: str, task: str, tmp_path: Path) -> None:
    head = TASKS[task].head
    tokenizer = make_family_tokenizer(name)
    config = make_config(
        name,
        vocab_size=len(tokenizer),
        num_hidden_layers=2,
        max_position_embeddings=80,
        pad_token_id=tokenizer.pad_token_id,
        labels=2 if head == "question-answering" else 3,
    )
    torch.manual_seed(0)
    model = AUTO_CLASSES[head].from_config(config, attn_implementation="eager").eval()
    write_graph(model, head, tmp_path / "graph.onnx")
    rows = rows_of_many_lengths(TASKS[task], Reader(tokenizer.backend_tokenizer, ReadingLimits(max_tokens=64)), 24)
    report = check_parity(model, head, tmp_path / "graph.onnx", rows, tokenizer.pad_token_id)
    assert max(report.largest_difference.values()) <= report.tolerance
    session = Session(tmp_path / "graph.onnx", pad_id=tokenizer.pad_token_id)
    assert check_determinism(session, rows[::2]).bit_equal
    check_shares(session, rows)
