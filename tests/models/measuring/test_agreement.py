"""Agreement of attention with gradients, against differences of the model's own outputs."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, pearsonr

from models.data import Example
from models.measuring.agreement import NothingToCompare, attention_gradient_agreement, weigh_tokens
from models.networks.batches import batch_rows
from models.networks.bilstm import BilstmConfig, BilstmForSequenceClassification
from models.networks.encoder import Encoder
from models.tasks.paraphrase import PARAPHRASE
from models.tasks.sentiment import SENTIMENT
from models.text import Reader, ReadingLimits
from tests.models.passes import make_batch, make_encoder
from tests.tiny import make_texts, make_tokenizer

TOKENIZER = make_tokenizer()
SPECIAL = set(TOKENIZER.all_special_ids)


def _examples(texts: Sequence[str], max_tokens: int = 24) -> list[Example]:
    reader = Reader(TOKENIZER.backend_tokenizer, ReadingLimits(max_tokens=max_tokens))
    return [Example(SENTIMENT.encode(SENTIMENT.item(text=text), reader, "window"), 0) for text in texts]


def _encoder(**given: int) -> Encoder:
    return make_encoder(**given).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", [1, 3])
def test_importance_is_what_scaling_a_word_vector_changes(labels: int) -> None:
    """sum_d e_d dy/de_d is the slope of y as e grows: central differences of y at (1 +- h) e."""
    encoder, batch = _encoder(labels=labels).double(), make_batch((6, 3))
    _, importance = weigh_tokens(encoder, batch, detached=False)
    vectors = encoder.word_vectors.detach()[batch.ids]
    for row, token in ((0, 0), (0, 4), (1, 2)):
        sides = []
        for sign in (1, -1):
            noise = torch.zeros_like(vectors)
            noise[row, token] = sign * 1e-5 * vectors[row, token]
            logits = encoder(batch, word_noise=noise).logits[row].detach()
            sides.append(logits.softmax(-1) if labels > 1 else logits)
        expected = ((sides[0] - sides[1]) / 2e-5).abs().sum().item()
        assert importance[row, token].item() == pytest.approx(expected, rel=1e-5)


def test_detached_the_last_layers_attention_counts_as_a_constant() -> None:
    """With attention fixed by a bias that leaves one choice only, there is no gradient through it to leave out."""
    encoder, batch = _encoder(), make_batch((6, 3))
    detached, whole = (weigh_tokens(encoder, batch, detached=one)[1] for one in (True, False))
    assert not torch.allclose(detached, whole)
    with torch.no_grad():
        for linear in (encoder.layers[-1].attention.self.query, encoder.layers[-1].attention.self.key):  # type: ignore[union-attr]
            linear.weight.zero_()  # type: ignore[union-attr,operator]
            linear.bias.zero_()  # type: ignore[union-attr,operator]
    detached, whole = (weigh_tokens(encoder, batch, detached=one)[1] for one in (True, False))
    torch.testing.assert_close(detached, whole)


def test_attention_is_the_last_layers_first_row_averaged_over_heads() -> None:
    encoder, batch = _encoder(), make_batch((6, 3))
    attention, _ = weigh_tokens(encoder, batch, detached=True)
    kept = encoder(batch, keep=[2]).kept[2].probabilities
    torch.testing.assert_close(attention, (kept[:, 0, 0] + kept[:, 1, 0]) / 2)


def test_means_and_deviations_are_over_the_examples_that_can_be_measured() -> None:
    encoder = _encoder()
    examples = _examples(["the film was good", "a", "dull and poor story", "great film", "the very plot is awful !"])
    found = attention_gradient_agreement(encoder, examples, 0, SPECIAL)
    expected: dict[str, list[float]] = {"pearson_detached": [], "pearson": [], "kendall_detached": [], "kendall": []}
    for example in (examples[0], examples[2], examples[4]):
        row = example.encoded.rows[0]
        batch = batch_rows([row], 0, torch.device("cpu"))
        words = [place for place, number in enumerate(row.ids) if number not in SPECIAL]
        for name, detached in (("_detached", True), ("", False)):
            attention, importance = (one[0, words].numpy() for one in weigh_tokens(encoder, batch, detached=detached))
            expected[f"pearson{name}"].append(float(pearsonr(attention, importance).statistic))
            expected[f"kendall{name}"].append(float(kendalltau(attention, importance).statistic))
    assert (found.measured, found.skipped) == (3, 2)
    for name, values in expected.items():
        spread = getattr(found, name)
        # Padded in a batch and alone, sums differ in float32's last digits.
        assert spread.mean == pytest.approx(np.mean(values), abs=1e-4)
        assert spread.sd == pytest.approx(np.std(values, ddof=1), abs=1e-4)


def test_neither_batches_nor_the_order_of_examples_matter() -> None:
    encoder = _encoder()
    examples = _examples([text for text, _ in make_texts(70, 3)])
    here = attention_gradient_agreement(encoder, examples, 0, SPECIAL)
    there = attention_gradient_agreement(encoder, examples[::-1], 0, SPECIAL)
    assert here.skipped == there.skipped > 0
    assert here.pearson.mean == pytest.approx(there.pearson.mean, abs=1e-4)
    assert -1 <= here.kendall_detached.mean <= 1
    assert math.isfinite(here.pearson_detached.sd)


def test_even_attention_is_skipped() -> None:
    encoder = _encoder()
    with torch.no_grad():
        encoder.layers[-1].attention.self.query.weight.zero_()  # type: ignore[union-attr,operator]
        encoder.layers[-1].attention.self.query.bias.zero_()  # type: ignore[union-attr,operator]
    with pytest.raises(NothingToCompare, match="none of 1 examples has 3 tokens or more, unlike in attention"):
        attention_gradient_agreement(encoder, _examples(["the film was good"]), 0, SPECIAL)


def test_of_a_long_text_the_first_window_is_measured() -> None:
    encoder = _encoder()
    long, first = "the film was good and " * 9, "the film was good and the"
    measured = [
        attention_gradient_agreement(encoder, _examples([text], max_tokens=8), 0, SPECIAL).pearson
        for text in (long, first)
    ]
    assert measured[0] == measured[1]


def test_a_training_encoder_is_left_training_and_without_gradients() -> None:
    encoder = make_encoder(dropout=0.5)
    examples = _examples(["the film was good"])
    found = [attention_gradient_agreement(encoder, examples, 0, SPECIAL) for _ in range(2)]
    assert found[0] == found[1]
    assert encoder.training
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_of_a_bilstms_pair_the_first_texts_tokens_are_compared() -> None:
    torch.manual_seed(5)
    config = BilstmConfig(vocab_size=len(TOKENIZER), word_width=8, state_width=6, reads_pairs=True)
    encoder = Encoder(BilstmForSequenceClassification(config)).eval()
    reader = Reader(TOKENIZER.backend_tokenizer, ReadingLimits(max_tokens=24))
    item = PARAPHRASE.item(text_a="the film was very good", text_b="a plot is dull and poor")
    example = Example(PARAPHRASE.encode(item, reader, "window"), 0)
    attention, importance = weigh_tokens(
        encoder, batch_rows(example.encoded.rows, 0, torch.device("cpu")), detached=False
    )
    found = attention_gradient_agreement(encoder, [example], 0, SPECIAL)
    # After [CLS] come the five words of the first text.
    expected = pearsonr(attention[0, 1:6].double(), importance[0, 1:6].double()).statistic
    assert found.pearson.mean == pytest.approx(expected, abs=1e-6)
