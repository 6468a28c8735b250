"""Decompositions by autograd against vectors carried forward for each token, and the properties that define them."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from models.measuring.decomposition import Decomposition, decompose, default_target
from models.networks.bilstm import BilstmConfig, BilstmForSequenceClassification
from models.networks.encoder import read_logits
from models.networks.gate import Gate, GatedModel, TokenClassifier
from models.networks.loading import AUTO_CLASSES
from models.tasks.task import Head
from tests.models.measuring.propagation import carry, encode, pool, propagate, propagate_bilstm, propagate_modernbert
from tests.models.passes import make_config

HEADS: tuple[Head, ...] = ("sequence-classification", "token-classification", "multiple-choice", "question-answering")
FAMILIES = ("bert", "roberta", "electra")
OTHERS = ("distilbert", "mpnet", "albert", "deberta-v2")
"""XLM-RoBERTa is RoBERTa; ModernBERT has a test of its own."""
STOCK = [(family, head) for family in FAMILIES for head in HEADS]
ALL = [
    *STOCK,
    *((family, "masked-language-model") for family in FAMILIES),
    ("bilstm", "sequence-classification"),
    ("bilstm-pair", "sequence-classification"),
    *((f"gated-{family}", "sequence-classification") for family in FAMILIES),
]
KINDS = pytest.mark.parametrize(("family", "head"), ALL)

EXACT = 1e-10
"""Float64 keeps 16 digits; deep sums of values near 10 lose some."""


def _randomise(model: Any, seed: int = 7) -> Any:
    """New models have biases of 0 and LayerNorm weights of 1, which would hide mistakes."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape, generator=draw).to(parameter) * 0.3)
    return model


@cache
def _model(family: str, head: Head) -> Any:
    """A model of random weights in evaluation mode; tests leave it as it is."""
    torch.manual_seed(5)
    if family.startswith("bilstm"):
        config = BilstmConfig(
            vocab_size=50, word_width=8, state_width=6, reads_pairs=family.endswith("pair"), num_labels=3
        )
        bilstm = _randomise(BilstmForSequenceClassification(config)).double().eval()
        with torch.no_grad():
            # New word vectors are small, and so would be their shares.
            bilstm.get_input_embeddings().weight.mul_(10)
        return bilstm
    stock = family.removeprefix("gated-")
    config = make_config(stock, labels=2 if head == "question-answering" else 3)
    model = _randomise(AUTO_CLASSES[head].from_config(config, attn_implementation="eager"))
    if family == stock:
        return model.double().eval()
    # Relevance is computed in float32, so a gated model runs in float32 only.
    gate = Gate(threshold=0.5, start_share=0.4, special_ids=(1, 2, 3))
    return GatedModel(model, _randomise(TokenClassifier(config, torch.Generator().manual_seed(2))), gate).eval()


def _tensors(family: str, lengths: list[int], *, padding: int = 0, seed: int = 3) -> dict[str, Tensor]:
    """Random rows; of the two texts of a pair, each has a token or more."""
    draw = torch.Generator().manual_seed(seed)
    width = max(lengths)
    ids = torch.randint(1, 50, (len(lengths), width), generator=draw)
    mask = torch.arange(width)[None, :] < torch.tensor(lengths)[:, None]
    tensors = {"input_ids": ids * mask, "attention_mask": mask.long()}
    if family not in ("bilstm", "roberta", "gated-roberta", "modernbert"):
        first = [1 + int(torch.randint(max(length - 1, 1), (), generator=draw)) for length in lengths]
        tensors["token_type_ids"] = (torch.arange(width)[None, :] >= torch.tensor(first)[:, None]) * mask.long()
    return {name: nn.functional.pad(tensor, (0, padding)) for name, tensor in tensors.items()}


def _logits(model: Any, head: Head, tensors: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        if head == "multiple-choice":
            tensors = {name: tensor[:, None] for name, tensor in tensors.items()}
        return read_logits(model(**tensors))


def _target(logits: Tensor, tensors: dict[str, Tensor], seed: int = 11) -> Tensor:
    """Random weights for the logits of a row, or of its real tokens."""
    target = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if logits.ndim > 2:
        target = target * tensors["attention_mask"][:, :, None]
    return target.to(logits.dtype)


def _decomposed(family: str, head: Head, tensors: dict[str, Tensor]) -> tuple[Decomposition, Tensor]:
    model = _model(family, head)
    target = _target(_logits(model, head, tensors), tensors)
    return decompose(model, head, tensors, target), target


def _lengths(family: str) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(2 if family == "bilstm-pair" else 1, 9), min_size=1, max_size=4)


@KINDS
@given(data=st.data(), padding=st.integers(0, 3), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=12)
def test_relevances_and_biases_add_up_to_the_models_own_sum(
    family: str, head: Head, data: st.DataObject, padding: int, seed: int
) -> None:
    tensors = _tensors(family, data.draw(_lengths(family)), padding=padding, seed=seed)
    model = _model(family, head)
    logits = _logits(model, head, tensors)
    target = _target(logits, tensors, seed)
    found = decompose(model, head, tensors, target)
    y = (logits * target).flatten(1).sum(1)
    # Float32 sums of parts that are larger than their sum lose digits.
    tolerance = EXACT if logits.dtype == torch.float64 else 1e-4 * (1 + found.relevances.abs().max().item())
    torch.testing.assert_close(found.y, y, atol=tolerance, rtol=0)
    torch.testing.assert_close(found.relevances.sum(1) + found.biases, y, atol=tolerance, rtol=0)
    assert (found.relevances[tensors["attention_mask"] == 0] == 0).all()


def _propagated(propagated: Tensor, target: Tensor) -> Tensor:
    """Shares of one row's sum, by token and last the biases'."""
    return (propagated * target[None, : propagated.shape[1]]).flatten(1).sum(1)


def _check_rows(
    found: Decomposition, target: Tensor, lengths: list[int], parts_of: Callable[[int, int], Tensor], tolerance: float
) -> None:
    for row, length in enumerate(lengths):
        shares = _propagated(parts_of(row, length), target[row])
        torch.testing.assert_close(found.relevances[row, :length], shares[:-1], atol=tolerance, rtol=0)
        torch.testing.assert_close(found.biases[row], shares[-1], atol=tolerance, rtol=0)
        assert shares[:-1].abs().max() > 0.01


@pytest.mark.parametrize(("family", "head"), STOCK)
def test_shares_are_the_vectors_carried_forward_for_each_token(family: str, head: Head) -> None:
    lengths, model = [7, 1, 4], _model(family, head)
    tensors = _tensors(family, lengths, padding=2)
    found, target = _decomposed(family, head, tensors)
    types = tensors.get("token_type_ids", torch.zeros_like(tensors["input_ids"]))

    def parts_of(row: int, length: int) -> Tensor:
        return propagate(model, head, tensors["input_ids"][row, :length], types[row, :length])

    _check_rows(found, target, lengths, parts_of, EXACT)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "quick_gelu"])
def test_one_layer_with_one_head_and_any_activation_is_a_few_matrix_products(activation: str) -> None:
    torch.manual_seed(2)
    config = BertConfig(
        vocab_size=30, hidden_size=6, num_hidden_layers=1, num_attention_heads=1, intermediate_size=10,
        max_position_embeddings=12, hidden_act=activation, initializer_range=0.5, attn_implementation="eager",
    )  # fmt: skip
    model = _randomise(BertForSequenceClassification(config)).double().eval()
    ids = torch.tensor([[4, 9, 9, 2, 17]])
    tensors = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    target = default_target(_logits(model, "sequence-classification", tensors))
    found = decompose(model, "sequence-classification", tensors, target)

    def parts_of(row: int, length: int) -> Tensor:
        return propagate(model, "sequence-classification", ids[row, :length], torch.zeros(length, dtype=torch.long))

    _check_rows(found, target, [5], parts_of, EXACT)


@pytest.mark.parametrize("family", ["bilstm", "bilstm-pair"])
def test_of_a_bilstm_both_texts_words_have_the_shares_of_the_held_lstm(family: str) -> None:
    lengths, model = [7, 2, 4], _model(family, "sequence-classification")
    tensors = _tensors(family, lengths, padding=2)
    found, target = _decomposed(family, "sequence-classification", tensors)
    types = tensors.get("token_type_ids", torch.zeros_like(tensors["input_ids"]))

    def parts_of(row: int, length: int) -> Tensor:
        return propagate_bilstm(model, tensors["input_ids"][row, :length], types[row, :length])

    _check_rows(found, target, lengths, parts_of, EXACT)
    if family == "bilstm-pair":
        assert (found.relevances[types == 1] != 0).all()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("head", HEADS)
def test_of_modernbert_shares_pass_its_gates_which_are_held_whole(head: Head, pooling: str) -> None:
    torch.manual_seed(5)
    config = make_config("modernbert", labels=2 if head == "question-answering" else 3, classifier_pooling=pooling)
    # In float64 too, transformers computes softmax in float32, where the largest mask of float64 is no number.
    model = _randomise(AUTO_CLASSES[head].from_config(config, attn_implementation="eager")).eval()
    lengths = [9, 1, 4]
    tensors = _tensors("modernbert", lengths, padding=2)
    target = _target(_logits(model, head, tensors), tensors)
    found = decompose(model, head, tensors, target)
    exact = deepcopy(model).double()

    def parts_of(row: int, length: int) -> Tensor:
        return propagate_modernbert(exact, head, tensors["input_ids"][row, :length]).float()

    # Float32 sums in another order.
    _check_rows(found, target, lengths, parts_of, 1e-4)
    assert not found.relevances[tensors["attention_mask"] == 0].any()
    torch.testing.assert_close(found.relevances.sum(1) + found.biases, found.y, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gate_passes_words_on_by_constant_weights(family: str) -> None:
    lengths, gated = [7, 4, 2], _model(f"gated-{family}", "sequence-classification")
    tensors = _tensors(f"gated-{family}", lengths, padding=2)
    # The last row has special tokens alone, so that the head reads its start only.
    tensors["input_ids"][2, :2] = torch.tensor([1, 3])
    found, target = _decomposed(f"gated-{family}", "sequence-classification", tensors)
    stock, ids = gated.model, tensors["input_ids"]
    types = tensors.get("token_type_ids", torch.zeros_like(ids))
    last = getattr(stock.classifier, "out_proj", stock.classifier)

    def parts_of(row: int, length: int) -> Tensor:
        with torch.no_grad():
            states = encode(stock.double().base_model, ids[row, :length], types[row, :length])
            pooled = pool(stock, "sequence-classification", states)
            words = gated.gate.words(ids[row : row + 1, :length], torch.ones(1, length, dtype=torch.bool))
            total, start = states.sum(0)[None].float(), pooled.sum(0)[None].float()
            weights = gated.gate.mix(gated.tokens(total), total, start, words).weights[0].double()
            context = (weights[:, None] * states).sum(1) if words.any() else pooled
            parts = carry(last, gated.gate.start_share * pooled + (1 - gated.gate.start_share) * context)
            stock.float()
        return parts.float()

    _check_rows(found, target, lengths, parts_of, 1e-4)


@KINDS
def test_shares_are_linear_in_the_target(family: str, head: Head) -> None:
    model, tensors = _model(family, head), _tensors(family, [5, 3])
    logits = _logits(model, head, tensors)
    one, other = _target(logits, tensors, 1), _target(logits, tensors, 2)
    mixed = decompose(model, head, tensors, 2 * one - 3 * other)
    first, second = (decompose(model, head, tensors, target) for target in (one, other))
    tolerance = EXACT if logits.dtype == torch.float64 else 1e-3
    for name in ("relevances", "biases", "y"):
        expected = 2 * getattr(first, name) - 3 * getattr(second, name)
        torch.testing.assert_close(getattr(mixed, name), expected, atol=tolerance, rtol=0)


@KINDS
def test_neither_padding_nor_the_rows_beside_change_a_share(family: str, head: Head) -> None:
    model, whole = _model(family, head), _tensors(family, [6, 3], padding=3)
    target = _target(_logits(model, head, whole), whole)
    together = decompose(model, head, whole, target)
    alone = {name: tensor[1:, :3] for name, tensor in whole.items()}
    found = decompose(model, head, alone, target[1:, :3] if target.ndim > 2 else target[1:])
    tolerance = EXACT if target.dtype == torch.float64 else 1e-4
    torch.testing.assert_close(found.relevances[0], together.relevances[1, :3], atol=tolerance, rtol=0)
    torch.testing.assert_close(found.biases[0], together.biases[1], atol=tolerance, rtol=0)
    assert not together.relevances[1, 3:].any()


def test_a_heads_tanh_at_0_passes_on_the_whole_share() -> None:
    """In a pair of the same word, the two texts cancel each other before tanh if one's map is minus the other's."""
    torch.manual_seed(4)
    config = BilstmConfig(vocab_size=9, word_width=5, state_width=4, reads_pairs=True, num_labels=2)
    model = BilstmForSequenceClassification(config).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.zero_()
        model.bilstm.embeddings.other_lstm.load_state_dict(model.bilstm.embeddings.lstm.state_dict())
        model.classifier.other.weight.copy_(-model.classifier.context.weight)
    tensors = {
        "input_ids": torch.tensor([[4, 4]]),
        "attention_mask": torch.ones(1, 2, dtype=torch.long),
        "token_type_ids": torch.tensor([[0, 1]]),
    }
    target = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    found = decompose(model, "sequence-classification", tensors, target)
    with torch.no_grad():
        states, _ = model.bilstm.embeddings.lstm(model.bilstm.embeddings.word_embeddings(torch.tensor([[4]])))
        inner = model.classifier.context.weight @ states[0, 0]
        share = target[0] @ model.classifier.output.weight @ inner
    assert not found.y.any()
    assert share.abs() > 1e-4
    torch.testing.assert_close(found.relevances, torch.stack([share, -share])[None], atol=1e-12, rtol=0)


@pytest.mark.parametrize("caller", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("family", ["bert", "bilstm-pair"])
def test_any_gradient_mode_of_the_caller_gives_the_same(family: str, caller: Any) -> None:
    model = _model(family, "sequence-classification")
    target = _target(torch.empty(2, 3, dtype=torch.float64), {})
    expected = decompose(model, "sequence-classification", _tensors(family, [5, 3]), target)
    with caller():
        found = decompose(model, "sequence-classification", _tensors(family, [5, 3]), target * 1)
    for name in ("relevances", "biases", "y"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
        assert not getattr(found, name).requires_grad


def test_a_graphs_further_inputs_may_stand_beside_the_models() -> None:
    tensors = _tensors("bert", [5, 3])
    found, target = _decomposed("bert", "token-classification", tensors)
    more = tensors | {"read_at": torch.tensor([1, 1]), "target": target}
    assert torch.equal(
        decompose(_model("bert", "token-classification"), "token-classification", more, target).relevances,
        found.relevances,
    )


@pytest.mark.parametrize("family", ["bert", "electra", "bilstm-pair", "gated-roberta"])
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_stays_as_it_was_after_an_error_too(family: str, fails: bool) -> None:
    model = _model(family, "sequence-classification")
    tensors = _tensors(family, [5, 3])
    before, logits = {name: tensor.clone() for name, tensor in model.state_dict().items()}, model(**tensors).logits
    training = list(model.modules())[::2]
    for module in training:
        module.training = True
    try:
        if fails:
            with pytest.raises(ValueError, match=r"target has shape \(2, 4\); the logits have \(2, 3\)"):
                decompose(model, "sequence-classification", tensors, torch.ones(2, 4))
        else:
            decompose(model, "sequence-classification", tensors, torch.ones_like(logits))
        assert [module for module in model.modules() if module.training] == training
        assert not any("forward" in vars(module) for module in model.modules())
        assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    finally:
        model.eval()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    after = model(**tensors).logits
    assert torch.equal(after, logits)
    assert after.requires_grad


def test_dropout_is_off() -> None:
    torch.manual_seed(5)
    config = make_config("bert", dropout=0.5)
    model = AUTO_CLASSES["sequence-classification"].from_config(config, attn_implementation="eager").train()
    tensors = _tensors("bert", [5, 3])
    found = [decompose(model, "sequence-classification", tensors, torch.ones(2, 3)).relevances for _ in range(2)]
    assert torch.equal(*found)


def test_fused_attention_is_refused() -> None:
    model = AUTO_CLASSES["sequence-classification"].from_config(make_config(), attn_implementation="sdpa").eval()
    with pytest.raises(ValueError, match="load the model in eager attention"):
        decompose(model, "sequence-classification", _tensors("bert", [3]), torch.ones(1, 3))


def test_float32_gives_the_same_but_for_rounding() -> None:
    torch.manual_seed(5)
    model = _randomise(
        AUTO_CLASSES["sequence-classification"].from_config(make_config(), attn_implementation="eager")
    ).eval()
    tensors = _tensors("bert", [9, 4], padding=2)
    target = _target(torch.empty(2, 3), tensors)
    single = decompose(model, "sequence-classification", tensors, target)
    double = decompose(model.double(), "sequence-classification", tensors, target.double())
    torch.testing.assert_close(single.relevances.double(), double.relevances, atol=1e-4, rtol=1e-4)
    assert single.relevances.dtype == torch.float32


@given(
    labels=st.integers(1, 6),
    values=st.lists(st.integers(-5, 5), min_size=6, max_size=18),
)
@settings(deadline=None, max_examples=50)
def test_by_default_the_predicted_label_is_explained_against_all_others(labels: int, values: list[int]) -> None:
    rows = len(values) // labels
    logits = torch.tensor(values[: rows * labels], dtype=torch.float64).reshape(rows, labels)
    for row, weights in zip(logits.tolist(), default_target(logits).tolist(), strict=True):
        predicted = row.index(max(row))
        others = [] if labels == 1 else [-1 / (labels - 1)] * (labels - 1)
        assert weights == [*others[:predicted], 1.0, *others[predicted:]]


@pytest.mark.parametrize("family", OTHERS)
@pytest.mark.parametrize("head", HEADS)
def test_in_other_families_shares_add_up_too_and_padding_has_none(family: str, head: Head) -> None:
    model = _model(family, head)
    tensors = _tensors(family, [7, 4], padding=2)
    tensors = {name: tensor for name, tensor in tensors.items() if name in ("input_ids", "attention_mask")}
    inputs = {name: tensor[:, None] for name, tensor in tensors.items()} if head == "multiple-choice" else tensors
    logits = read_logits(model(**inputs)).detach()
    real = tensors["attention_mask"].bool()
    target = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if logits.dim() == 3:
        target = target * real[:, :, None]
    found = decompose(model, head, tensors, target)
    torch.testing.assert_close(found.y, (logits * target).flatten(1).sum(1))
    torch.testing.assert_close(found.relevances.sum(1) + found.biases, found.y, rtol=EXACT, atol=EXACT)
    assert (found.relevances[~real] == 0).all()
