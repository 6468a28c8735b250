"""The words that are masked, and the masked texts that are accepted."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.data import Example
from models.networks.encoder import Batch, Encoder
from models.networks.loading import load_encoder
from models.robust.masking_trials import MaskedText, MaskingTrials, draw_masked_positions, draw_words, text_positions
from models.text import Reader, ReadingLimits
from tests.tiny import make_texts, make_tokenizer

READER = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=32))
TRIALS = MaskingTrials(trigger=0.1, max_rounds=10, score_range=None, tokenizer=make_tokenizer())


@pytest.fixture
def encoder(base: Path) -> Encoder:
    """A head that is right about half of the texts, by chance."""
    torch.manual_seed(1)
    encoder = load_encoder(base, "sequence-classification", ("no", "yes")).eval()
    with torch.no_grad():
        encoder.model.classifier.weight.mul_(30)
    return encoder


@pytest.fixture
def examples() -> list[Example]:
    return [Example(READER.read(text), label) for text, label in make_texts(60, seed=4)]


def _logits(encoder: Encoder, example: Example, masked: frozenset[int] = frozenset()) -> torch.Tensor:
    row = example.encoded.rows[0]
    mask_id = make_tokenizer().mask_token_id
    ids = torch.tensor([[mask_id if place in masked else token for place, token in enumerate(row.ids)]])
    nothing = torch.zeros(1, dtype=torch.long)
    real = torch.ones_like(ids, dtype=torch.bool)
    with torch.no_grad():
        logits: torch.Tensor = encoder(
            Batch(ids=ids, type_ids=torch.tensor([row.type_ids]), mask=real, targets=nothing, indices=nothing)
        ).logits[0]
    return logits


def _ignore(line: str) -> None:
    """Ignore a line."""


@pytest.mark.parametrize(("length", "share"), [(5, 0.05), (10, 0.11), (20, 0.14), (40, 0.16), (80, 0.17)])
def test_the_share_of_masked_words_is_that_of_the_authors_code(length: int, share: float) -> None:
    draw = random.Random(0)
    draws = [len(draw_words(length, draw, 0.1)) / length for _ in range(4000)]
    # Given in whole percent; the standard error is below a fifth of one.
    assert sum(draws) / len(draws) == pytest.approx(share, abs=0.01)


def test_of_five_words_four_draws_in_five_mask_nothing_and_of_one_word_all_do() -> None:
    draw = random.Random(0)
    empty = sum(not draw_words(5, draw, 0.1) for _ in range(4000)) / 4000
    assert empty == pytest.approx(0.81, abs=0.02)  # neither of the last quarter's two: 0.9 squared
    assert not any(draw_words(1, draw, 1.0) for _ in range(100))


class _Script(random.Random):
    """Draws that are written down."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self._values: Iterator[float] = iter(values)

    def random(self) -> float:
        return next(self._values)

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        del step
        value = int(next(self._values))
        assert stop is not None
        assert start <= value < stop
        return value


NO = 0.99


@pytest.mark.parametrize(
    ("drawn", "number", "masked"),
    [
        (7, 0.71, {5, 6, 7}),
        (7, 0.69, {6, 7}),
        (7, 0.41, {6, 7}),
        (7, 0.39, {7}),
        # Quarters of nine words begin at 0, 2, 4 and 6.
        (7, 0.1, {7}),
        (6, 0.69, {6}),
        (8, 0.71, {6, 7, 8}),
    ],
)
def test_one_draw_masks_up_to_three_words_back_but_not_beyond_its_quarter(
    drawn: int, number: float, masked: set[int]
) -> None:
    expected = {drawn} if min(masked) < 6 else masked
    assert draw_words(9, _Script(*[NO] * 8, 0.05, drawn, number), 0.1) == expected


def test_a_quarter_that_begins_between_two_words_is_rounded_as_the_code_does() -> None:
    """The second quarter of ten words is [2.25, 4.5): word 3 draws 2 or 3, and two words would begin before it."""
    assert draw_words(10, _Script(*[NO] * 3, 0.05, 2, 0.1, *[NO] * 6), 0.1) == {2}
    assert draw_words(10, _Script(*[NO] * 3, 0.05, 3, 0.5, *[NO] * 6), 0.1) == {3}


def test_each_text_of_a_pair_is_drawn_apart_and_no_special_token_is_masked() -> None:
    pair = Example(READER.read_pair({"a": "the film was good !", "b": "it is a very very dull story"}), 0)
    first, second = text_positions(pair.encoded.rows[0])
    assert (first, second) == (list(range(1, 6)), list(range(7, 14)))
    draws = [draw_masked_positions(pair, random.Random(seed), 0.5) for seed in range(300)]
    assert frozenset.union(*draws) == {4, 5, *second}  # of five words only the last quarter has two
    assert any(draw & {*first} and draw & {*second} for draw in draws)


def test_every_accepted_probe_is_right_and_stays_right_when_masked(encoder: Encoder, examples: list[Example]) -> None:
    found = TRIALS.find(examples, 60, encoder, "seed")
    assert len(found) >= 60
    assert any(probe.masked for probe in found)
    for probe in found:
        example = examples[probe.source]
        assert _logits(encoder, example).argmax() == example.target
        assert _logits(encoder, example, probe.masked).argmax() == example.target


def test_probes_that_change_the_answer_are_left_out(encoder: Encoder, examples: list[Example]) -> None:
    one_round = replace(TRIALS, trigger=0.5, max_rounds=1)
    found = one_round.find(examples, 60, encoder, "seed")
    drawn = [
        MaskedText(index, draw_masked_positions(example, random.Random(f"seed/0/{index}"), 0.5))
        for index, example in enumerate(examples)
        if _logits(encoder, example).argmax() == example.target
    ]
    kept = [
        probe
        for probe in drawn
        if _logits(encoder, examples[probe.source], probe.masked).argmax() == examples[probe.source].target
    ]
    assert found == kept
    assert len(kept) < len(drawn) < len(examples)  # else it would prove little


def test_probes_are_distinct_and_an_empty_one_counts_once_a_text(encoder: Encoder, examples: list[Example]) -> None:
    found = replace(TRIALS, trigger=0.0).find(examples, 60, encoder, "seed")
    right = [index for index, example in enumerate(examples) if _logits(encoder, example).argmax() == example.target]
    assert found == [MaskedText(index, frozenset()) for index in right]


def test_an_epoch_is_as_long_as_the_data_whatever_share_is_probed(encoder: Encoder, examples: list[Example]) -> None:
    for ratio in (0.0, 0.2, 0.8):
        texts = TRIALS.plan(examples, ratio, encoder, "seed", _ignore)
        assert len(texts) == 60
        originals = [text.source for text in texts[int(ratio * 60) :]]
        assert len(set(originals)) == len(originals)
        assert not any(text.masked for text in texts[int(ratio * 60) :])
        assert len(set(texts[: int(ratio * 60)])) == int(ratio * 60)


def test_without_probes_the_epoch_is_the_data_in_their_order(encoder: Encoder, examples: list[Example]) -> None:
    texts = TRIALS.plan(examples, 0.0, encoder, "seed", _ignore)
    assert texts == [MaskedText(index, frozenset()) for index in range(60)]


def test_the_same_seed_gives_the_same_epoch_and_another_does_not(encoder: Encoder, examples: list[Example]) -> None:
    plans = [TRIALS.plan(examples, 0.6, encoder, seed, _ignore) for seed in ("1/2", "1/2", "1/3")]
    assert plans[0] == plans[1] != plans[2]


def test_where_too_few_are_accepted_originals_stand_in_and_it_is_said(encoder: Encoder) -> None:
    hopeless = [Example(READER.read(text), 7) for text, _ in make_texts(10, seed=4)]
    said: list[str] = []
    texts = TRIALS.plan(hopeless, 0.4, encoder, "seed", said.append)
    assert sorted(text.source for text in texts) == list(range(10))
    assert said == ["0 masked texts were accepted, 4 are wanted: 4 unmasked texts take the place of the others"]


def test_rounds_are_not_more_than_they_may_be(encoder: Encoder, examples: list[Example]) -> None:
    said: list[str] = []
    short = replace(TRIALS, trigger=0.0)  # every round draws the same empty probes
    texts = short.plan(examples, 0.9, encoder, "seed", said.append)
    assert len(texts) == 60
    assert len(said) == 1


@pytest.mark.parametrize(("score_range", "tolerance"), [((0.0, 5.0), 0.3), ((0.0, 1.0), 0.06), ((-1.0, 1.0), 0.12)])
def test_scores_agree_within_three_tenths_on_the_scale_of_five(
    base: Path, score_range: tuple[float, float], tolerance: float
) -> None:
    torch.manual_seed(0)
    encoder = load_encoder(base, "sequence-classification", ("score",)).eval()
    texts = [READER.read(text) for text, _ in make_texts(40, seed=4)]
    given = [float(_logits(encoder, Example(text, 0.0))[0]) for text in texts]
    offsets = [0.9 * tolerance, -0.9 * tolerance, 1.1 * tolerance, -1.1 * tolerance]
    examples = [
        Example(text, answer + offsets[index % 4])
        for index, (text, answer) in enumerate(zip(texts, given, strict=True))
    ]
    trials = replace(TRIALS, score_range=score_range, trigger=0.5)
    found = trials.find(examples, 40, encoder, "seed")
    assert {probe.source % 4 for probe in found} == {0, 1}
    changes = [
        abs(float(_logits(encoder, examples[probe.source], probe.masked)[0]) - given[probe.source]) for probe in found
    ]
    assert 0 < max(changes) <= tolerance * (1 + 1e-5)  # float32 rounding of another batch


def test_no_draw_lies_outside_the_text() -> None:
    """For lengths at which quartiles fall on words and between them."""
    draw = random.Random(0)
    for length in range(1, 33):
        places: set[int] = set().union(*(draw_words(length, draw, 0.5) for _ in range(50)))
        assert places <= set(range(length))


def test_what_is_masked_is_seen_by_the_model_alone(encoder: Encoder, examples: list[Example]) -> None:
    before: list[Any] = [list(example.encoded.rows[0].ids) for example in examples]
    TRIALS.find(examples, 60, encoder, "seed")
    assert [example.encoded.rows[0].ids for example in examples] == before
