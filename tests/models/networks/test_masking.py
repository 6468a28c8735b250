"""The tokens that are hidden, their replacements, and the worth of a model's guesses."""

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM

from models.data import Example
from models.networks.batches import collate, torch_runner
from models.networks.heads import IGNORED
from models.networks.loading import load_encoder, load_tokenizer
from models.networks.masking import MaskedExamples, Masking, NoMask
from models.tasks.masked_words import MASKED_WORDS, TooFewTexts
from models.tasks.task import TextItem
from models.text import Reader, ReadingLimits, Row
from tests.tiny import make_texts, make_tokenizer

TOKENIZER = make_tokenizer()
MASKING = Masking.of(TOKENIZER)
READER = Reader(TOKENIZER.backend_tokenizer, ReadingLimits(max_tokens=32))


def _row(text: str) -> Row:
    (row,) = READER.read(text).rows
    return row


def _examples(count: int) -> list[Example]:
    texts = (text for text, _ in make_texts(count, seed=0))
    return [Example(MASKED_WORDS.encode(TextItem(text=text), READER, "right"), None) for text in texts]


def test_of_the_texts_tokens_15_in_100_are_hidden_of_which_80_masked_10_redrawn_10_left() -> None:
    row = _row("the film was good and the plot was fine")
    rows = [MASKING.hide(row, str(number)) for number in range(4000)]
    real, hidden = 9 * len(rows), sum(len(one.hidden) for one in rows)
    assert abs(hidden / real - 0.15) < 4 * math.sqrt(0.15 * 0.85 / real)
    masked = sum(one.ids[place] == MASKING.mask_id for one in rows for place in one.hidden)
    left = sum(one.ids[place] == token for one in rows for place, token in one.hidden.items())
    assert abs(masked / hidden - 0.8) < 4 * math.sqrt(0.8 * 0.2 / hidden)
    # One redrawn token in as many as there are is the one that was there.
    assert abs(left / hidden - (0.1 + 0.1 / len(MASKING.drawable))) < 4 * math.sqrt(0.1 * 0.9 / hidden)


def test_special_tokens_are_neither_hidden_nor_drawn() -> None:
    row, special = _row("good"), set(TOKENIZER.all_special_ids) - {MASKING.mask_id}
    rows = [MASKING.hide(row, str(number)) for number in range(500)]
    assert {place for one in rows for place in one.hidden} == {1}
    assert all(one.ids[0] == row.ids[0] and one.ids[2] == row.ids[2] for one in rows)
    assert not special & {one.ids[1] for one in rows}


def test_what_is_hidden_is_what_the_text_has_and_nothing_else_is_changed() -> None:
    row = _row("the film was good and the plot was fine")
    for number in range(50):
        hidden = MASKING.hide(row, str(number))
        assert {**dict(enumerate(hidden.ids)), **hidden.hidden} == dict(enumerate(row.ids))
        assert hidden.type_ids == row.type_ids


def test_what_is_hidden_depends_on_seed_epoch_and_index_and_on_nothing_else() -> None:
    examples = _examples(40)

    def shown(seed: int, epoch: int, order: list[int]) -> dict[int, list[int]]:
        masked = MaskedExamples(examples, MASKING, seed, epoch)
        return {index: masked[index].encoded.rows[0].ids for index in order}

    forwards = list(range(40))
    assert shown(1, 1, forwards) == shown(1, 1, forwards[::-1])
    assert shown(1, 1, forwards) != shown(1, 2, forwards) != shown(2, 1, forwards)
    masked = MaskedExamples(examples, MASKING, 1, 1)
    assert masked[-1] == masked[39] == masked[38:][1]


def test_a_row_that_is_measured_hides_the_same_tokens_always() -> None:
    first, again = (MASKING.hide_always(_row("the film was good and the plot was fine")) for _ in range(2))
    assert first.ids == again.ids
    assert len({tuple(MASKING.hide_always(row.encoded.rows[0]).hidden) for row in _examples(40)}) > 10


def test_only_hidden_tokens_are_learnt_from() -> None:
    masked = MaskedExamples(_examples(6), MASKING, 5, 1)
    batch = collate(masked, range(6), "masked-language-model", 0, torch.device("cpu"))
    for number, example in enumerate(masked):
        hidden = example.encoded.rows[0].hidden  # type: ignore[attr-defined]
        expected = [hidden.get(place, IGNORED) for place in range(batch.ids.shape[1])]
        assert batch.targets[number].tolist() == expected
    assert (batch.targets != IGNORED).any()


def test_guesses_are_judged_as_the_stock_model_gives_them(base: Path) -> None:
    stock = AutoModelForMaskedLM.from_pretrained(base).eval()
    run = torch_runner(load_encoder(base, "masked-language-model", ()), "masked-language-model", load_tokenizer(base))
    rows = [example.encoded.rows[0] for example in _examples(8)]
    found = run(rows)
    assert sum(map(len, found)) > 3
    for row, judged in zip(rows, found, strict=True):
        hidden = MASKING.hide_always(row)
        with torch.inference_mode():
            logits = stock(input_ids=torch.tensor([hidden.ids])).logits[0].double()
        assert judged.shape == (len(hidden.hidden), 2)
        for (chance, hit), (place, token) in zip(judged, hidden.hidden.items(), strict=True):
            # float32 and padding against float64 and none
            assert chance == pytest.approx(float(logits[place].log_softmax(-1)[token]), abs=1e-4)
            assert hit == float(logits[place].argmax() == token)


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    tokenizer = make_tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(NoMask, match="has no mask token; choose a base that was made with one"):
        Masking.of(tokenizer)


def test_texts_of_which_no_word_is_hidden_cannot_be_measured() -> None:
    with pytest.raises(TooFewTexts, match="give more texts"):
        MASKED_WORDS.measure([None], [torch.zeros(0, 2).numpy()], MASKED_WORDS.outputs)
