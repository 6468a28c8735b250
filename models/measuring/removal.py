"""Takes words out of an item that was read already, to see what an answer rests on without them.

Tokens leave the rows, or the mask token takes their place; the texts and their offsets stay as they were, so an answer
to the changed rows can be compared with the first one. Windows of a long text become shorter and are not cut anew.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from models.text import Encoded, Row
from models.words import Span

Removal = Literal["deletion", "mask"]
"""How words are taken out: their tokens are deleted, or the mask token takes the place of each."""

Word = tuple[str, Span]
"""A field and the place of a word in its text."""


@dataclass(frozen=True)
class ThinnedRow(Row):
    """A row of which some tokens are deleted or masked."""

    places: tuple[int, ...] = ()
    """For each token that is left, its position in the whole row."""
    shown: tuple[int, ...] = ()
    """For each token that is left, the id that the model reads."""

    @cached_property
    def ids(self) -> list[int]:
        """Token ids, special tokens included."""
        return list(self.shown)

    @cached_property
    def type_ids(self) -> list[int]:
        """Segment of each token that is left."""
        types = self.encoding.type_ids
        return [types[place] for place in self.places]

    def spans(self, field: str) -> list[tuple[int, Span]]:
        """Position among the tokens that are left of each that came from `field`, with its code points there."""
        position = {place: number for number, place in enumerate(self.places)}
        return [(position[place], span) for place, span in super().spans(field) if place in position]

    def __len__(self) -> int:
        return len(self.places)


class RemovableWords:
    """The words of one item that can be taken out of its rows.

    A token belongs to the word that has most of its characters, the first of them where several have as many.
    """

    def __init__(self, encoded: Encoded, words: Sequence[Word]) -> None:
        """Find the tokens of `words`; words of one field must not overlap."""
        self._encoded = encoded
        self._owners = [_owners(row, words) for row in encoded.rows]

    def without(self, removed: Collection[int], mask_id: int | None = None) -> Encoded:
        """The item without these of the words, given by their numbers; with `mask_id`, that token stands for theirs."""
        if not removed:
            return self._encoded
        numbers = np.fromiter(removed, dtype=np.int64)
        rows = zip(self._encoded.rows, self._owners, strict=True)
        return replace(self._encoded, rows=tuple(_thin(row, np.isin(owners, numbers), mask_id) for row, owners in rows))


def _owners(row: Row, words: Sequence[Word]) -> npt.NDArray[np.int64]:
    """The number of the word that each token of the row belongs to; -1 where it is none of them."""
    owners = np.full(len(row), -1, dtype=np.int64)
    most = np.zeros(len(row), dtype=np.int64)
    for field in row.fields:
        placed = row.spans(field)
        if not placed:
            continue
        positions = np.array([position for position, _ in placed])
        spans = np.array([span for _, span in placed])
        for number, (of, word) in enumerate(words):
            if of != field:
                continue
            shared = np.minimum(spans[:, 1], word.end) - np.maximum(spans[:, 0], word.start)
            is_larger = shared > most[positions]
            owners[positions[is_larger]] = number
            most[positions[is_larger]] = shared[is_larger]
    return owners


def _thin(row: Row, is_removed: npt.NDArray[np.bool_], mask_id: int | None) -> Row:
    if not is_removed.any():
        return row
    ids = np.array(row.encoding.ids)
    places = np.arange(len(ids)) if mask_id is not None else np.flatnonzero(~is_removed)
    shown = np.where(is_removed, -1 if mask_id is None else mask_id, ids)[places]
    return ThinnedRow(
        row.encoding,
        row.segments,
        row.group,
        places=tuple(places.tolist()),
        shown=tuple(shown.tolist()),
    )
