"""The BiLSTM against loops in float64, and under the same hook as any other encoder."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from models.networks.bilstm import BilstmConfig, BilstmForSequenceClassification, run_lstm
from models.networks.encoder import Batch, Encoder, EncoderError
from models.networks.loading import load_encoder, load_trained
from models.robust import IMPLEMENTATIONS, read_settings
from models.robust.asa import AsaSettings
from models.robust.asa import build as build_asa
from tests.models.passes import make_batch, make_build_context, make_context

KINDS = pytest.mark.parametrize("pairs", [False, True], ids=["single", "pair"])
HALF = 6


def _encoder(pairs: bool, *, labels: int = 3, seed: int = 5) -> Encoder:
    torch.manual_seed(seed)
    config = BilstmConfig(vocab_size=50, word_width=8, state_width=HALF, reads_pairs=pairs, num_labels=labels)
    return Encoder(BilstmForSequenceClassification(config)).train()


def _batch(pairs: bool, *, padding: int = 0) -> Batch:
    """Rows of 7, 4 and 2 tokens, of which the first 3, 2 and 1 are the first text of a pair."""
    batch = make_batch((7, 4, 2), padding=padding)
    is_second = torch.arange(batch.ids.shape[1])[None, :] >= torch.tensor([3, 2, 1])[:, None]
    return replace(batch, type_ids=(is_second & batch.mask).long()) if pairs else batch


def _loop_lstm(lstm: nn.LSTM, words: np.ndarray, *, backwards: bool) -> np.ndarray:
    """States over one row of words, by the equations of the LSTM."""
    ending = "_l0_reverse" if backwards else "_l0"
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w, u, b, c = (getattr(lstm, name + ending).detach().numpy() for name in names)
    state, cell = np.zeros(HALF), np.zeros(HALF)
    states = np.zeros((len(words), HALF))
    for t in reversed(range(len(words))) if backwards else range(len(words)):
        i, f, g, o = np.split(w @ words[t] + b + u @ state + c, 4)
        cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(g)
        states[t] = state = _sigmoid(o) * np.tanh(cell)
    return states


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _loop_states(lstm: nn.LSTM, words: np.ndarray) -> np.ndarray:
    return np.concatenate([_loop_lstm(lstm, words, backwards=back) for back in (False, True)], axis=1)


def _apply(linear: nn.Linear, x: np.ndarray) -> np.ndarray:
    weight, bias = linear.weight.detach().numpy(), linear.bias
    return np.asarray(weight @ x + (0 if bias is None else bias.detach().numpy()))


def _by_definition(encoder: Encoder, batch: Batch, row: int) -> tuple[np.ndarray, list[float]]:
    """Logits of one row and the attention over its first text, one token at a time."""
    model = encoder.model
    table = model.bilstm.embeddings.word_embeddings.weight.detach().numpy()
    ids, types, real = (tensor[row].numpy() for tensor in (batch.ids, batch.type_ids, batch.mask))
    states = _loop_states(model.bilstm.embeddings.lstm, table[ids[real & (types == 0)]])
    attention, head = model.bilstm.encoder.layer[0].attention["self"], model.classifier
    q = None
    if (types == 1).any():
        others = _loop_states(model.bilstm.embeddings.other_lstm, table[ids[real & (types == 1)]])
        q = np.concatenate([others[-1, :HALF], others[0, HALF:]])
    scores = []
    for state in states:
        inner = _apply(attention.state, state) + (0 if q is None else _apply(attention.other, q))
        scores.append(float(_apply(attention.score, np.tanh(inner))[0]))
    total = math.fsum(map(math.exp, scores))
    shares = [math.exp(score) / total for score in scores]
    context = sum((share * state for share, state in zip(shares, states, strict=True)), np.zeros(2 * HALF))
    if q is not None:
        context = np.tanh(_apply(head.context, context) + _apply(head.other, q))
    return _apply(head.output, context), shares


@KINDS
def test_it_computes_what_its_equations_say(pairs: bool) -> None:
    encoder, batch = _encoder(pairs).double(), _batch(pairs, padding=2)
    passed = encoder(batch, keep=[0])
    for row in range(3):
        logits, shares = _by_definition(encoder, batch, row)
        torch.testing.assert_close(passed.logits[row], torch.from_numpy(logits))
        torch.testing.assert_close(
            passed.kept[0].probabilities[row, 0, 0, : len(shares)], torch.tensor(shares).double()
        )


def test_rows_together_have_the_states_that_each_has_alone() -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(4, 3, batch_first=True, bidirectional=True).double()
    inputs, lengths = torch.randn(4, 6, 4, dtype=torch.float64), torch.tensor([2, 6, 1, 5])
    together = run_lstm(lstm, inputs, lengths)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(together[row, :length], lstm(inputs[row, :length])[0])
        assert not together[row, length:].any()


@KINDS
def test_the_amount_of_padding_and_the_rows_beside_change_nothing(pairs: bool) -> None:
    encoder = _encoder(pairs).double()
    whole, padded = encoder(_batch(pairs), keep=[0]), encoder(_batch(pairs, padding=5), keep=[0])
    torch.testing.assert_close(padded.logits, whole.logits)
    torch.testing.assert_close(padded.kept[0].probabilities[..., :7], whole.kept[0].probabilities)
    batch = _batch(pairs)
    alone = Batch(**{name: getattr(batch, name)[1:2] for name in ("ids", "type_ids", "mask", "targets", "indices")})
    torch.testing.assert_close(encoder(alone).logits, whole.logits[1:2])


@KINDS
def test_attention_adds_up_to_one_over_the_first_text_and_is_nothing_elsewhere(pairs: bool) -> None:
    encoder, batch = _encoder(pairs), _batch(pairs, padding=3)
    probabilities = encoder(batch, keep=[0]).kept[0].probabilities
    assert probabilities.shape == (3, 1, 1, 10)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(3, 1, 1))
    assert (probabilities[:, 0, 0][~encoder.attended(batch)] == 0).all()
    expected = [[3, 2, 1]] if pairs else [[7, 4, 2]]
    assert [encoder.attended(batch).sum(1).tolist()] == expected


@KINDS
def test_a_zero_bias_changes_nothing(pairs: bool) -> None:
    encoder, batch = _encoder(pairs), _batch(pairs)
    assert torch.equal(encoder(batch, score_bias={0: lambda *_: torch.zeros(3, 1, 1, 7)}).logits, encoder(batch).logits)


@KINDS
def test_a_bias_moves_attention_as_a_softmax_says_and_gets_a_gradient(pairs: bool) -> None:
    encoder, batch = _encoder(pairs), _batch(pairs)
    bias = torch.randn(3, 1, 1, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    seen: list[Tensor] = []

    def push(state: Tensor, attended: Tensor) -> Tensor:
        seen.extend((state, attended))
        return bias

    before = encoder(batch, keep=[0]).kept[0]
    after = encoder(batch, keep=[0], score_bias={0: push})
    expected = before.probabilities * bias.exp()
    torch.testing.assert_close(after.kept[0].probabilities, expected / expected.sum(-1, keepdim=True))
    assert torch.equal(seen[0], before.entering)
    assert torch.equal(seen[1], encoder.attended(batch))
    (gradient,) = torch.autograd.grad(after.logits.square().sum(), bias)
    assert gradient[0].abs().sum() > 0
    assert (gradient[:, 0, 0][~encoder.attended(batch)] == 0).all()


def test_of_a_bias_for_every_token_the_first_row_counts() -> None:
    encoder, batch = _encoder(pairs=False), _batch(pairs=False)
    bias = torch.randn(3, 1, 7, 7, generator=torch.Generator().manual_seed(0))
    whole, first = (encoder(batch, score_bias={0: lambda *_, b=b: b}).logits for b in (bias, bias[:, :, :1]))
    assert torch.equal(whole, first)
    assert not torch.equal(whole, encoder(batch).logits)


@KINDS
def test_no_bias_can_draw_attention_to_padding_or_to_the_second_text(pairs: bool) -> None:
    encoder, batch = _encoder(pairs), _batch(pairs, padding=1)
    bias = torch.where(encoder.attended(batch), -1e6, 1e6)[:, None, None, :]
    probabilities = encoder(batch, keep=[0], score_bias={0: lambda *_: bias}).kept[0].probabilities
    assert (probabilities[:, 0, 0][~encoder.attended(batch)] == 0).all()


@KINDS
def test_starting_from_the_states_gives_what_the_whole_pass_gives_without_running_the_lstms(pairs: bool) -> None:
    encoder, batch = _encoder(pairs), _batch(pairs)
    whole = encoder(batch, keep=[0])
    with torch.no_grad():
        for parameter in encoder.model.bilstm.embeddings.parameters():
            parameter.fill_(torch.nan)
    rest = encoder(batch, start_layer=0, hidden=whole.kept[0].entering)
    assert torch.equal(rest.logits, whole.logits)
    assert torch.equal(rest.states, whole.states)
    assert encoder(batch).logits.isnan().all()


@KINDS
def test_noise_on_word_vectors_reaches_the_answer(pairs: bool) -> None:
    encoder, batch = _encoder(pairs), _batch(pairs)
    noise = torch.zeros(3, 7, 8)
    assert torch.equal(encoder(batch, word_noise=noise).logits, encoder(batch).logits)
    noise[1, 3] = 1.0
    moved = (encoder(batch, word_noise=noise).logits != encoder(batch).logits).any(1)
    assert moved.tolist() == [False, True, False]


def test_the_second_text_is_read_as_if_it_stood_alone() -> None:
    encoder, batch = _encoder(pairs=True), _batch(pairs=True)
    embeddings = encoder.model.bilstm.embeddings
    states = encoder(batch).states[0, 3:7]
    alone, _ = embeddings.other_lstm(embeddings.word_embeddings(batch.ids[:1, 3:7]))
    torch.testing.assert_close(states, alone[0])


def test_unknown_words_and_padding_begin_as_nothing() -> None:
    table = _encoder(pairs=False).model.bilstm.embeddings.word_embeddings.weight
    assert not table[:2].any()
    assert table[2:].any(1).all()


@KINDS
def test_what_is_saved_is_what_is_loaded(pairs: bool, tmp_path: Path) -> None:
    encoder, batch = _encoder(pairs), _batch(pairs)
    encoder.model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    stock, found = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    for model in (stock, load_trained(tmp_path, "sequence-classification")):
        assert torch.equal(Encoder(model)(batch).logits, encoder(batch).logits)
    again = load_encoder(tmp_path, "sequence-classification", ("a", "b", "c"))
    assert torch.equal(again(batch).logits, encoder(batch).logits)


@pytest.mark.parametrize("head", ["token-classification", "multiple-choice", "question-answering"])
def test_heads_that_it_has_not_are_refused(head: str, tmp_path: Path) -> None:
    _encoder(pairs=False).model.save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match=f"a BiLSTM, which cannot have the head {head}"):
        load_encoder(tmp_path, head, ("a", "b"))  # type: ignore[arg-type]


def test_asa_is_refused_since_no_token_sees_another() -> None:
    with pytest.raises(EncoderError, match="a BiLSTM has one row of attention for a whole text: choose another method"):
        build_asa(AsaSettings(), make_build_context(_encoder(pairs=False)))


def test_the_longest_row_is_no_matter() -> None:
    encoder = _encoder(pairs=False)
    assert encoder.max_tokens > 1_000_000
    assert encoder.width == 2 * HALF
    assert len(encoder.layers) == encoder.model.config.num_attention_heads == 1
    assert encoder.model.get_input_embeddings().weight.shape == (50, 8)


@pytest.mark.parametrize("name", ["attention-at", "attention-iat", "attention-rp", "attention-vat", "attention-ivat"])
def test_noise_on_a_pair_has_its_length_and_is_on_the_first_text_alone(name: str) -> None:
    encoder, batch = _encoder(True), _batch(True, padding=2)
    moved: list[Tensor] = []

    def see(module: nn.Module, args: object, given: Any) -> None:
        del module, args
        if given.get("hidden") is not None:
            moved.append(given["score_bias"][0]()[:, 0, 0])

    encoder.register_forward_pre_hook(see, with_kwargs=True)
    method = IMPLEMENTATIONS[name].build(read_settings(name, {"epsilon": 1.5}), make_build_context(encoder))
    method.step(batch, make_context(encoder))
    assert all((noise[~encoder.attended(batch)] == 0).all() for noise in moved)
    # Where only one token can be attended to, as in the last row, there is no gradient and so no direction.
    torch.testing.assert_close(torch.linalg.vector_norm(moved[-1][:2], dim=-1), torch.tensor([1.5, 1.5]))


def test_under_noise_the_readout_alone_runs_again() -> None:
    encoder, batch = _encoder(True), _batch(True)
    runs: list[None] = []
    encoder.model.bilstm.embeddings.register_forward_hook(lambda *_: runs.append(None))
    method = IMPLEMENTATIONS["attention-at"].build(read_settings("attention-at", {}), make_build_context(encoder))
    method.step(batch, make_context(encoder))
    assert len(runs) == 1
