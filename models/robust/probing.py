"""SSA's probes: which words of a text can be masked without changing what the model says of it.

The drawing follows the authors' code (`koukoulala/ssa_BERT`, `data_util.py`) down to where its rounding cuts a text.
Departures, beside those said below: words are drawn in the text as it was cut for training, where the code draws before
the cut and drops what lies beyond it; a set of masked words counts once, where the code tells apart the orders in which
it was drawn; and words are masked with the tokenizer's own mask token, which the code misspells for RoBERTa.
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
"""A probe masks three words in a row where a uniform draw is above this, two where it is above the next, else one."""
SHORT_SPAN = 0.4

FULL_SCALE = 5.0
TOLERANCE = 0.3
"""How far scores on the scale from 0 to 5 may be apart and still be the same answer."""

BATCH_SIZE = 64


@dataclass(frozen=True)
class Probe:
    """A training text, by its number, with some words masked."""

    source: int
    masked: frozenset[int]
    """Positions in its row."""


@dataclass(frozen=True, kw_only=True)
class Probing:
    """How probes are drawn and judged."""

    trigger: float
    """Chance of each position to start a draw in its quarter of the text."""
    max_rounds: int
    score_range: tuple[float, float] | None
    """Lowest and highest score, where the answer is one."""
    tokenizer: PreTrainedTokenizerFast

    def plan(
        self, examples: Sequence[Example], ratio: float, encoder: Encoder, seed: str, say: Callable[[str], None]
    ) -> list[Probe]:
        """An epoch's texts, as many as there are: the share `ratio` of them accepted probes, the rest originals.

        Both are drawn without putting back, so a text may be in both or in neither; at ratio 0 all stand in their
        order. Where `max_rounds` give too few probes, more originals stand in for them and `say` is told; the released
        code would go on for ever.
        """
        wanted = int(ratio * len(examples))
        if not wanted:
            return [Probe(index, frozenset()) for index in range(len(examples))]
        accepted = self.find(examples, wanted, encoder, seed)
        draw = random.Random(seed)
        chosen = draw.sample(accepted, min(wanted, len(accepted)))
        if len(chosen) < wanted:
            say(
                f"{len(chosen)} probes were accepted, {wanted} are wanted: "
                f"{wanted - len(chosen)} unmasked texts stand in for the others"
            )
        rest = draw.sample(range(len(examples)), len(examples) - len(chosen))
        return chosen + [Probe(index, frozenset()) for index in rest]

    def find(self, examples: Sequence[Example], wanted: int, encoder: Encoder, seed: str) -> list[Probe]:
        """Distinct accepted probes, round by round over all examples until there are `wanted` or more.

        A probe is accepted if the model is right about the text and says the same when its words are masked. The draws
        depend on the seed, the round and the example's number alone. `encoder` is in evaluation mode.
        """
        answers = self._answers([example.encoded.rows[0] for example in examples], encoder)
        right = [index for index, answer in enumerate(answers) if self._agree(float(examples[index].target), answer)]
        found: dict[Probe, None] = {}
        for number in range(self.max_rounds):
            if len(found) >= wanted or not right:
                break
            drawn = [
                Probe(index, draw_probe(examples[index], random.Random(f"{seed}/{number}/{index}"), self.trigger))
                for index in right
            ]
            new = [probe for probe in drawn if probe not in found]
            # An empty probe is the text itself, whose answer is known.
            masked = [probe for probe in new if probe.masked]
            rows = [self._hide(examples[probe.source].encoded.rows[0], probe.masked) for probe in masked]
            changed = {
                probe
                for probe, answer in zip(masked, self._answers(rows, encoder), strict=True)
                if not self._agree(answers[probe.source], answer)
            }
            found |= dict.fromkeys(probe for probe in new if probe not in changed)
        return list(found)

    def _answers(self, rows: Sequence[Row], encoder: Encoder) -> list[float]:
        """The most probable label's number, or the score, of each row."""
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
    """Positions of the words of each text in the row, the first's and, if there is one, the second's."""
    sequences = row.encoding.sequence_ids
    return [
        [position for position, sequence in enumerate(sequences) if sequence == number]
        for number in range(row.encoding.n_sequences)
    ]


def draw_probe(example: Example, draw: random.Random, trigger: float) -> frozenset[int]:
    """Positions of the example's row to mask, drawn in each of its texts apart."""
    return frozenset(
        words[place]
        for words in text_positions(example.encoded.rows[0])
        for place in draw_places(len(words), draw, trigger)
    )


def draw_places(length: int, draw: random.Random, trigger: float) -> set[int]:
    """Which of `length` words to mask.

    A text's quarters begin at the quartiles of its word numbers, which need not be whole. Each word, with the chance
    `trigger`, draws one in its quarter, which is masked with none, one or two of the words before it; words before
    the quarter are not reached: there only the drawn one is masked. A quarter no longer than one word draws nothing.
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
