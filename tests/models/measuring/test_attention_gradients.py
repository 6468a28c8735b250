"""Correlations of attention with gradients, against differences of the model's own logits."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import kendalltau, pearsonr
from torch import Tensor
from transformers import AutoModelForMultipleChoice

from models.measuring.agreement import NothingToCompare
from models.measuring.attention_gradients import AttentionGradients, correlate_attention_with_gradients
from models.measuring.intervals import bootstrap_interval
from models.networks.bilstm import BilstmConfig, BilstmForSequenceClassification
from models.networks.gate import Gate, GatedModel, TokenClassifier
from models.networks.hooks import added
from models.tasks.paraphrase import PARAPHRASE
from models.tasks.sentiment import SENTIMENT
from models.text import Reader, ReadingLimits, Row, pad
from tests.models.passes import make_config, make_encoder
from tests.tiny import make_texts, make_tokenizer

TOKENIZER = make_tokenizer()
READER = Reader(TOKENIZER.backend_tokenizer, ReadingLimits(max_tokens=24))
NAMES = ("pearson_detached", "pearson", "kendall_detached", "kendall")


def _rows(*texts: str) -> list[Row]:
    return [SENTIMENT.encode(SENTIMENT.item(text=text), READER, "window").rows[0] for text in texts]


def _pairs(*texts: tuple[str, str]) -> list[Row]:
    items = [PARAPHRASE.item(text_a=a, text_b=b) for a, b in texts]
    return [PARAPHRASE.encode(item, READER, "window").rows[0] for item in items]


def _bert(labels: int = 3) -> Any:
    return make_encoder(labels=labels).model.eval()


def _bilstm(reads_pairs: bool) -> Any:
    torch.manual_seed(5)
    config = BilstmConfig(vocab_size=len(TOKENIZER), word_width=8, state_width=6, reads_pairs=reads_pairs, num_labels=2)
    return BilstmForSequenceClassification(config).eval()


@contextmanager
def _fixed(dropout: torch.nn.Module, probabilities: Tensor) -> Iterator[None]:
    """Attention of these values, whatever the words are."""
    handle = dropout.register_forward_hook(lambda *_: probabilities)
    try:
        yield
    finally:
        handle.remove()


def _importance(model: Any, row: Row, attention: Tensor | None) -> npt.NDArray[np.float64]:
    """Length of the gradient at each word vector, from central differences of the predicted label's lead."""
    arrays = pad([row], 0)
    tensors = {name: torch.from_numpy(arrays[name]) for name in ("input_ids", "attention_mask", "token_type_ids")}
    table = model.base_model.embeddings.word_embeddings
    width, step = table.weight.shape[1], 1e-5
    with torch.no_grad():
        predicted = model(**tensors).logits[0].argmax()
        # One row for each coordinate of each word vector, moved up and down.
        moves = torch.eye(len(row) * width, dtype=torch.float64).reshape(-1, len(row), width) * step
        many = {name: tensor.expand(len(moves), -1) for name, tensor in tensors.items()}
        leads = []
        for sign in (1, -1):
            with added(table, sign * moves):
                if attention is None:
                    logits = model(**many).logits
                else:
                    last = model.base_model.encoder.layer[-1].attention.self
                    # A BiLSTM's module gives the probabilities themselves.
                    with _fixed(getattr(last, "dropout", last), attention.expand(len(moves), -1, -1, -1)):
                        logits = model(**many).logits
            if logits.shape[1] == 1:
                leads.append(logits[:, 0])
            else:
                others = (logits.sum(1) - logits[:, predicted]) / (logits.shape[1] - 1)
                leads.append(logits[:, predicted] - others)
    gradient = ((leads[0] - leads[1]) / (2 * step)).reshape(len(row), width)
    return np.asarray(gradient.norm(dim=1))


def _by_differences(model: Any, rows: Sequence[Row], words: Sequence[Sequence[int]]) -> dict[str, list[float]]:
    """The four correlations of each row, over the tokens that the test names."""
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for row, counted in zip(rows, words, strict=True):
        arrays = pad([row], 0)
        tensors = {name: torch.from_numpy(arrays[name]) for name in ("input_ids", "attention_mask", "token_type_ids")}
        with torch.no_grad():
            probabilities = model(**tensors, output_attentions=True).attentions[-1]
        attention = probabilities[0, :, 0].mean(0).numpy()[list(counted)]
        for ending, held in (("_detached", probabilities), ("", None)):
            importance = _importance(model, row, held)[list(counted)]
            found[f"pearson{ending}"].append(float(pearsonr(attention, importance).statistic))
            found[f"kendall{ending}"].append(float(kendalltau(attention, importance).statistic))
    return found


def _check(found: AttentionGradients, expected: dict[str, list[float]]) -> None:
    for name, values in expected.items():
        correlation = getattr(found, name)
        # Central differences are right to about 1e-8.
        assert correlation.mean == pytest.approx(np.mean(values), abs=1e-6)
        assert correlation.interval == pytest.approx(bootstrap_interval(values), abs=1e-6)


@pytest.mark.parametrize("labels", [1, 2, 3])
def test_correlations_are_those_of_differences_of_the_predicted_labels_lead(labels: int) -> None:
    model = _bert(labels).double()
    rows = _rows("the film was very good", "a dull plot", "great story , and a lovely film !")
    # The first and the last token of a row are no words.
    expected = _by_differences(model, rows, [range(1, len(row) - 1) for row in rows])
    found = correlate_attention_with_gradients(model, rows, pad_id=0)
    assert (found.measured, found.skipped) == (3, 0)
    _check(found, expected)
    assert abs(found.pearson.mean - found.pearson_detached.mean) > 1e-3


@pytest.mark.parametrize("reads_pairs", [False, True])
def test_of_a_bilstm_the_attended_text_is_measured(reads_pairs: bool) -> None:
    model = _bilstm(reads_pairs).double()
    if reads_pairs:
        rows = _pairs(("the film was very good", "a plot"), ("a dull story", "it was the very film !"))
    else:
        rows = _rows("the film was very good", "a dull story")
    words = [range(1, 6), range(1, 4)]
    _check(correlate_attention_with_gradients(model, rows, pad_id=0), _by_differences(model, rows, words))


def test_short_rows_and_even_attention_are_skipped() -> None:
    model = _bert()
    rows = _rows("the film was good", "great film", "a", "dull and poor story")
    found = correlate_attention_with_gradients(model, rows, pad_id=0)
    assert (found.measured, found.skipped) == (2, 2)
    with torch.no_grad():
        query = model.base_model.encoder.layer[-1].attention.self.query
        query.weight.zero_()
        query.bias.zero_()
    with pytest.raises(NothingToCompare, match="none of 4 rows has 3 tokens or more, unlike in attention"):
        correlate_attention_with_gradients(model, rows, pad_id=0)


def test_neither_batches_nor_the_order_of_rows_matter() -> None:
    model, rows = _bert().double(), _rows(*(text for text, _ in make_texts(70, 3)))
    here = correlate_attention_with_gradients(model, rows, pad_id=0)
    there = correlate_attention_with_gradients(model, rows[::-1], pad_id=0)
    assert here.skipped == there.skipped > 0
    for name in NAMES:
        one, other = getattr(here, name), getattr(there, name)
        assert one.mean == pytest.approx(other.mean, abs=1e-9)
        assert one.interval == pytest.approx(other.interval, abs=1e-9)
        assert one.interval[0] < one.mean < one.interval[1]


def test_a_gated_model_is_measured_as_it_answers() -> None:
    model = _bert()
    rows = _rows("the film was very good", "a dull plot")
    tokens = TokenClassifier(model.config, torch.Generator().manual_seed(2))
    stock, open_gate, shut_gate = (
        correlate_attention_with_gradients(answering, rows, pad_id=0)
        for answering in (
            model,
            GatedModel(model, tokens, Gate(threshold=0.5, start_share=1.0, special_ids=(2, 3))),
            GatedModel(model, tokens, Gate(threshold=0.5, start_share=0.1, special_ids=(2, 3))),
        )
    )
    assert open_gate == stock
    assert abs(shut_gate.pearson.mean - stock.pearson.mean) > 1e-3


def test_choices_are_measured_row_by_row() -> None:
    torch.manual_seed(5)
    model = AutoModelForMultipleChoice.from_config(make_config(), attn_implementation="eager").eval()
    rows = _pairs(("the film was", "very good"), ("a dull plot", "it was !"))
    found = correlate_attention_with_gradients(model, rows, pad_id=0)
    assert found.measured == 2


def test_the_model_keeps_its_modes_and_gets_no_gradients() -> None:
    model = make_encoder(dropout=0.5).model
    model.classifier.eval()
    rows = _rows("the film was very good")
    with torch.no_grad():
        found = [correlate_attention_with_gradients(model, rows, pad_id=0) for _ in range(2)]
    assert found[0] == found[1]
    assert model.training
    assert not model.classifier.training
    assert all(parameter.grad is None for parameter in model.parameters())
