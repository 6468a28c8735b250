"""SSA finds words of a text that can be masked without changing the model's answer.

A masked text is a trial: it is accepted if the model answers as it does to the text itself. The drawing follows the
authors' code (`koukoulala/ssa_BERT`, `data_util.py`), down to where its rounding cuts a text. The docstrings below name
some departures; there are three more. Words are drawn in the text as it was cut for training; the code draws before the
cut and drops what lies beyond it. A set of masked words counts once; the code tells apart the orders of drawing. Words
are masked with the tokenizer's own mask token, which the code misspells for RoBERTa.
"""

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from transformers import PreTrainedTokenizerFast

from models.data import Example
from models.evaluation import by_length
from models.networks.batches import batch_rows
from models.networks.encoder import Encoder
from models.tasks.task import Logits
from models.text import Row

LONG_SPAN = 0.7
"""A draw masks three words in a row if a uniform number is above this one, two if above `SHORT_SPAN`, else one."""
SHORT_SPAN = 0.4

FULL_SCALE = 5.0
TOLERANCE = 0.3
"""Two scores on the scale from 0 to 5 are the same answer if they differ by no more than this."""

BATCH_SIZE = 64


@dataclass(frozen=True)
class MaskedText:
    """A training text with some of its words masked, or with none."""

    source: int
    """Number of the training example."""
    masked: frozenset[int]
    """Masked positions in the text's row."""


@dataclass(frozen=True, kw_only=True)
class MaskingTrials:
    """Draws masked texts and keeps those that the model answers as it answers the text itself."""

    trigger: float
    """Chance of each word to start a draw in its quarter of the text."""
    max_rounds: int
    """Number of times that all texts are tried, at most."""
    score_range: tuple[float, float] | None
    """Lowest and highest score; None where the answer is a label."""
    tokenizer: PreTrainedTokenizerFast

    def plan(
        self, examples: Sequence[Example], ratio: float, encoder: Encoder, seed: str, say: Callable[[str], None]
    ) -> list[MaskedText]:
        """The texts of one epoch, as many as there are examples: a share `ratio` of them masked, the rest unmasked.

        The masked texts are accepted trials. Both kinds are drawn without putting back, so a text may be in both or in
        neither. At ratio 0 all texts are unmasked and in their order. If `max_rounds` accept too few trials, more
        unmasked texts take their place and `say` is called with a line about it; the released code never ends then.
        """
        wanted = int(ratio * len(examples))
        if not wanted:
            return [MaskedText(index, frozenset()) for index in range(len(examples))]
        accepted = self.find(examples, wanted, encoder, seed)
        draw = random.Random(seed)
        chosen = draw.sample(accepted, min(wanted, len(accepted)))
        if len(chosen) < wanted:
            say(
                f"{len(chosen)} masked texts were accepted, {wanted} are wanted: "
                f"{wanted - len(chosen)} unmasked texts take the place of the others"
            )
        rest = draw.sample(range(len(examples)), len(examples) - len(chosen))
        return chosen + [MaskedText(index, frozenset()) for index in rest]

    def find(self, examples: Sequence[Example], wanted: int, encoder: Encoder, seed: str) -> list[MaskedText]:
        """Distinct accepted trials, collected in rounds over all examples until there are `wanted` or more.

        A trial is accepted if the model answers the text rightly and gives the same answer to the masked text. The
        draws depend on the seed, the round and the example's number alone. `encoder` must be in evaluation mode.
        """
        answers = self._answers([example.encoded.rows[0] for example in examples], encoder)
        right = [index for index, answer in enumerate(answers) if self._agree(float(examples[index].target), answer)]
        found: dict[MaskedText, None] = {}
        for number in range(self.max_rounds):
            if len(found) >= wanted or not right:
                break
            drawn = [
                MaskedText(
                    index,
                    draw_masked_positions(examples[index], random.Random(f"{seed}/{number}/{index}"), self.trigger),
                )
                for index in right
            ]
            new = [trial for trial in drawn if trial not in found]
            # Where no word was drawn, the trial is the text itself, whose answer is known.
            masked = [trial for trial in new if trial.masked]
            rows = [self._hide(examples[trial.source].encoded.rows[0], trial.masked) for trial in masked]
            changed = {
                trial
                for trial, answer in zip(masked, self._answers(rows, encoder), strict=True)
                if not self._agree(answers[trial.source], answer)
            }
            found |= dict.fromkeys(trial for trial in new if trial not in changed)
        return list(found)

    def _answers(self, rows: Sequence[Row], encoder: Encoder) -> list[float]:
        """The number of the most probable label, or the score, for each row."""
        logits = _run(encoder, rows, int(self.tokenizer.pad_token_id))
        return [float(row[0] if self.score_range else row.argmax()) for row in logits]

    def _agree(self, one: float, other: float) -> bool:
        if self.score_range is None:
            return one == other
        low, high = self.score_range
        return abs(one - other) <= TOLERANCE * (high - low) / FULL_SCALE

    def _hide(self, row: Row, masked: frozenset[int]) -> Row:
        return _MaskedRow(row.encoding, row.segments, masked=masked, mask_id=int(self.tokenizer.mask_token_id))


def text_positions(row: Row) -> list[list[int]]:
    """Positions of the words of each text in the row: one list for a single text, two for a pair."""
    sequences = row.encoding.sequence_ids
    return [
        [position for position, sequence in enumerate(sequences) if sequence == number]
        for number in range(row.encoding.n_sequences)
    ]


def draw_masked_positions(example: Example, draw: random.Random, trigger: float) -> frozenset[int]:
    """Positions to mask in the example's row, drawn for each of its texts separately."""
    return frozenset(
        words[place]
        for words in text_positions(example.encoded.rows[0])
        for place in draw_words(len(words), draw, trigger)
    )


def draw_words(length: int, draw: random.Random, trigger: float) -> set[int]:
    """Numbers of the words to mask in a text of `length` words.

    A text's quarters begin at the quartiles of its word numbers, which need not be whole. With the chance `trigger`,
    each word draws a word of its own quarter. The drawn word is masked with none, one or two of the words before it,
    but alone if these would reach beyond the quarter. A quarter no longer than one word draws nothing.
    """
    bounds = [(length - 1) * quarter / 4 for quarter in range(4)] + [float(length)]
    places: set[int] = set()
    for word in range(length):
        if draw.random() > trigger:
            continue
        quarter = bisect_right(bounds, word) - 1
        start, end = bounds[quarter], bounds[quarter + 1]
        if end - start <= 1:
            continue
        # The code hands fractions to numpy's randint, which cuts them off: the drawn word may lie before its quarter.
        last = draw.randrange(int(start), int(end))
        size = _draw_size(draw)
        places.update(range(last - size + 1, last + 1) if last - size + 1 >= start else [last])
    return places


def _draw_size(draw: random.Random) -> int:
    number = draw.random()
    if number > LONG_SPAN:
        return 3
    return 2 if number > SHORT_SPAN else 1


@dataclass(frozen=True)
class _MaskedRow(Row):
    masked: frozenset[int] = frozenset()
    mask_id: int = 0

    @cached_property
    def ids(self) -> list[int]:
        return [self.mask_id if place in self.masked else token for place, token in enumerate(self.encoding.ids)]


@torch.no_grad()
def _run(encoder: Encoder, rows: Sequence[Row], pad_id: int) -> list[Logits]:
    def run_batch(chosen: Sequence[Row]) -> list[Logits]:
        device = next(encoder.parameters()).device
        return list(encoder(batch_rows(chosen, pad_id, device)).logits.float().cpu().numpy())

    return by_length(rows, run_batch, BATCH_SIZE)
