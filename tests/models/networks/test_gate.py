"""The gate of SSA-Hybrid, against a float64 loop, and the model that is served with it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from export.gates.determinism import check_determinism
from export.gates.parity import check_parity
from export.graphs.finishing import write_graph
from export.probes import rows_of_many_lengths
from export.session import Session
from models.networks.encoder import Encoder
from models.networks.gate import Gate, GatedModel, TokenClassifier, find_special_ids, relevance, word_weights
from models.networks.hooks import captured_ends, last_linear
from models.tasks import find_task
from models.text import Reader, ReadingLimits
from tests.models.passes import FAMILIES, make_batch, make_config, make_encoder
from tests.tiny import make_tokenizer

SPECIAL_IDS = find_special_ids(make_tokenizer())


def _gated(encoder: Encoder, *, threshold: float = 0.5, start_share: float = 0.5) -> GatedModel:
    tokens = TokenClassifier(encoder.model.config, torch.Generator().manual_seed(2))
    gate = Gate(threshold=threshold, start_share=start_share, special_ids=SPECIAL_IDS)
    return GatedModel(encoder.model, tokens, gate)


def _logits(model: GatedModel, *, padding: int = 0) -> Tensor:
    batch = make_batch(padding=padding)
    logits: Tensor = model(input_ids=batch.ids, attention_mask=batch.mask.long()).logits
    return logits


def test_the_gate_is_the_formula_word_by_word() -> None:
    draw = torch.Generator().manual_seed(0)
    token_logits, states = torch.randn(2, 6, 2, generator=draw), torch.randn(2, 6, 4, generator=draw)
    pooled = torch.randn(2, 4, generator=draw)
    words = torch.tensor([[0, 1, 1, 1, 1, 0], [0, 1, 1, 0, 0, 0]], dtype=torch.bool)
    mixed = Gate(threshold=0.4, start_share=0.7, special_ids=()).mix(token_logits, states, pooled, words)
    for row in range(2):
        zeros, ones = token_logits[row, :, 0].tolist(), token_logits[row, :, 1].tolist()
        p = [math.exp(one) / (math.exp(zero) + math.exp(one)) for zero, one in zip(zeros, ones, strict=True)]
        powers = [math.exp(p[j]) if words[row, j] and p[j] >= 0.4 else 0.0 for j in range(6)]
        weights = [power / sum(powers) for power in powers]
        context = [sum(weights[j] * states[row, j, d].item() for j in range(6)) for d in range(4)]
        head_input = [0.7 * pooled[row, d].item() + 0.3 * context[d] for d in range(4)]
        # float32 against float64
        np.testing.assert_allclose(mixed.weights[row], weights, atol=1e-6)
        np.testing.assert_allclose(mixed.context[row], context, atol=1e-6)
        np.testing.assert_allclose(mixed.head_input[row], head_input, atol=1e-6)
        assert sum(power > 0 for power in powers) > 0
    assert (mixed.weights[words] == 0).any()  # the threshold had something to do


@given(
    seed=st.integers(0, 10_000), threshold=st.floats(0, 1), lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4)
)
@settings(deadline=None, max_examples=50)
def test_weights_share_1_among_words_that_pass_and_differ_by_little(
    seed: int, threshold: float, lengths: list[int]
) -> None:
    draw = torch.Generator().manual_seed(seed)
    p = torch.rand(len(lengths), 12, generator=draw)
    words = (torch.arange(12) < torch.tensor(lengths)[:, None]) & (torch.rand(p.shape, generator=draw) < 0.8)
    weights = word_weights(p, words, threshold)
    passing = words & (p >= threshold)
    for row in range(len(lengths)):
        total = weights[row].sum().item()
        assert total == pytest.approx(1 if words[row].any() else 0, abs=1e-5)
        kept = passing[row] if passing[row].any() else words[row]
        assert (weights[row][~kept] == 0).all()
        if kept.any():
            positive = weights[row][kept]
            assert positive.min() > 0
            assert (positive.max() / positive.min()).item() <= math.exp(1 - threshold) * (1 + 1e-5)


def test_where_no_word_passes_all_words_share_alike() -> None:
    words = torch.tensor([[False, True, True, True, False]])
    weights = word_weights(torch.tensor([[0.9, 0.1, 0.2, 0.3, 0.9]]), words, 0.5)
    torch.testing.assert_close(weights, torch.tensor([[0, 1 / 3, 1 / 3, 1 / 3, 0]]))


def test_a_row_without_words_reads_its_start_alone_and_has_finite_gradients() -> None:
    token_logits, states = torch.randn(1, 3, 2, requires_grad=True), torch.randn(1, 3, 4, requires_grad=True)
    pooled = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    gate = Gate(threshold=0.5, start_share=0.25, special_ids=())
    mixed = gate.mix(token_logits, states, pooled, torch.zeros(1, 3, dtype=torch.bool))
    assert torch.equal(mixed.context, pooled)
    assert torch.equal(mixed.head_input, pooled)
    gradients = torch.autograd.grad(mixed.head_input.sum(), [token_logits, states])
    assert all((gradient == 0).all() for gradient in gradients)


def test_the_classifier_learns_through_the_weights_and_not_through_the_threshold() -> None:
    token_logits = torch.tensor([[[0.0, 1.0], [0.0, 0.5], [2.0, 0.0]]], requires_grad=True)
    states = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    words = torch.ones(1, 3, dtype=torch.bool)
    mixed = Gate(threshold=0.5, start_share=0.0, special_ids=()).mix(token_logits, states, torch.zeros(1, 4), words)
    (gradient,) = torch.autograd.grad(mixed.context[0, 0], token_logits)
    assert (gradient[0, :2].abs() > 0).all()
    assert (gradient[0, 2] == 0).all()  # below the threshold


def test_an_unknown_word_is_a_word_and_other_special_tokens_are_none() -> None:
    tokenizer = make_tokenizer()
    ids = torch.tensor([[tokenizer.convert_tokens_to_ids(t) for t in ("[CLS]", "[UNK]", "film", "[SEP]", "[PAD]")]])
    real = torch.tensor([[True, True, True, True, False]])
    gate = Gate(threshold=0.3, start_share=0.5, special_ids=SPECIAL_IDS)
    assert gate.words(ids, real).tolist() == [[False, True, True, False, False]]
    assert real.tolist() == [[True, True, True, True, False]]


def test_words_are_what_came_from_a_text() -> None:
    """The words that the graph finds by ids are those that the reader knows."""
    reader = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=32))
    row = reader.read_pair({"a": "the 😍 film", "b": "[SEP] [MASK] was good"}).rows[0]
    gate = Gate(threshold=0.3, start_share=0.5, special_ids=SPECIAL_IDS)
    words = gate.words(torch.tensor([row.ids]), torch.ones(1, len(row), dtype=torch.bool))
    assert words[0].tolist() == [sequence is not None for sequence in row.encoding.sequence_ids]


@pytest.mark.parametrize("family", FAMILIES)
def test_with_all_weight_on_the_start_the_head_is_the_plain_one(family: str) -> None:
    encoder = make_encoder(family)
    gated = _gated(encoder, start_share=1.0)
    assert torch.equal(_logits(gated), encoder(make_batch()).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gated_model_is_the_stock_model_and_the_gate(family: str) -> None:
    encoder, batch = make_encoder(family), make_batch()
    gated = _gated(encoder)
    with captured_ends(encoder.model) as ends:
        encoder.model(input_ids=batch.ids, attention_mask=batch.mask.long())
    words = gated.gate.words(batch.ids, batch.mask)
    mixed = gated.gate.mix(gated.tokens(ends["states"]), ends["states"], ends["pooled"], words)
    found = _logits(gated)
    assert torch.equal(found, last_linear(encoder.model)(mixed.head_input))
    assert not torch.allclose(found, encoder(batch).logits, atol=0.01)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_nothing(family: str) -> None:
    gated = _gated(make_encoder(family))
    torch.testing.assert_close(_logits(gated, padding=9), _logits(gated))  # float32 sums in another order


def test_under_the_encoders_hook_it_is_a_model_as_any() -> None:
    encoder, batch = make_encoder(), make_batch()
    gated = _gated(encoder)
    passed = Encoder(gated)(batch, keep=[0])
    assert torch.equal(passed.logits, _logits(gated))
    assert torch.equal(passed.states, encoder(batch).states)


def test_the_token_classifier_is_as_large_as_the_authors_own() -> None:
    config = make_config(hidden_size=768)
    count = sum(parameter.numel() for parameter in TokenClassifier(config).parameters())
    assert count == 593_666


def test_relevance_is_computed_in_float32() -> None:
    logits = torch.tensor([[[1.0, 2.0]]], dtype=torch.bfloat16)
    torch.testing.assert_close(relevance(logits), torch.tensor([[1 / (1 + math.exp(-1))]]))


@pytest.mark.parametrize("family", FAMILIES)
def test_its_graph_agrees_with_torch_and_gives_a_row_the_same_bits_beside_any_others(
    family: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = make_config(
        family, vocab_size=len(make_tokenizer()), num_hidden_layers=1, max_position_embeddings=80, initializer_range=0.2
    )
    stock = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
    gated = _gated(Encoder(stock)).eval()
    write_graph(gated, "sequence-classification", tmp_path / "graph.onnx")
    reader = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=64))
    rows = rows_of_many_lengths(find_task("sentiment"), reader)
    report = check_parity(gated, "sequence-classification", tmp_path / "graph.onnx", rows, 0)
    assert max(report.largest_difference.values()) <= report.tolerance
    session = Session(tmp_path / "graph.onnx", pad_id=0)
    assert session.reads_anywhere is False
    assert check_determinism(session, rows[::4]).bit_equal
