"""Reads texts in which people marked the words that matter to the sentiment, to compare explanations with them.

A record has `tokens` and one of these columns:

- `token_labels`: how negative or positive each token is, from 0 to 4; those that are not neutral (2) are marked.
- `rationales`: spans of tokens, `[start, end)`, that give the label's reason (ERASER, DeYoung et al. 2020).
- `human_attention`: for each person a list of 0 and 1 over tokens; those that at least half of the people chose are
  marked (Yelp-HAT, Sen et al. 2020).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.data import draw_rows
from models.errors import UserError
from models.files.formats import read_records
from models.files.rows import BadRecord

NEUTRAL = 2


class RationalesError(UserError):
    """A file that holds no marked texts."""


@dataclass(frozen=True)
class MarkedText:
    """A text split into tokens, some of which people marked."""

    tokens: tuple[str, ...]
    marked: frozenset[int]
    """Numbers of the marked tokens."""
    polarity: tuple[int, ...] = ()
    """For each token from -2, very negative, to 2, very positive; empty where nobody was asked."""


def read_marked_texts(path: Path, most: int | None = None) -> Sequence[MarkedText]:
    """Read a file of marked texts, or `most` of them drawn always alike.

    Texts in which no token is marked, or every one, are left out: they can be compared with nothing.

    Raises:
        RationalesError: a record cannot be read, or there is no text to compare with.
        RecordsError: the file cannot be read.
    """
    texts = []
    for record in read_records(path):
        if isinstance(record, BadRecord):
            raise RationalesError(f"{path}: record {record.number}: {record.reason}")
        try:
            text = _read(record.values)
        except (TypeError, ValueError) as error:
            raise RationalesError(f"{path}: record {record.number}: {error}") from error
        if 0 < len(text.marked) < len(text.tokens):
            texts.append(text)
    if not texts:
        raise RationalesError(f"{path}: no text has both marked and other tokens")
    return draw_rows(texts, most)


def _read(values: Mapping[str, Any]) -> MarkedText:
    column = next((name for name in _COLUMNS if name in values), None)
    if column is None or "tokens" not in values:
        raise ValueError(f"needs `tokens` and one of {', '.join(_COLUMNS)}; it has: {', '.join(values)}")
    tokens = tuple(map(str, values["tokens"]))
    return _COLUMNS[column](tokens, values[column])


def _read_token_labels(tokens: tuple[str, ...], labels: Sequence[int]) -> MarkedText:
    _check_length(tokens, labels, "token_labels")
    polarity = tuple(int(label) - NEUTRAL for label in labels)
    if not all(-NEUTRAL <= one <= NEUTRAL for one in polarity):
        raise ValueError("token_labels are from 0 to 4")
    return MarkedText(tokens, frozenset(place for place, one in enumerate(polarity) if one), polarity)


def _read_rationales(tokens: tuple[str, ...], spans: Sequence[Sequence[int]]) -> MarkedText:
    marked = frozenset(place for start, end in spans for place in range(int(start), int(end)))
    if not all(0 <= place < len(tokens) for place in marked):
        raise ValueError(f"rationales are spans of the {len(tokens)} tokens, counted from 0")
    return MarkedText(tokens, marked)


def _read_human_attention(tokens: tuple[str, ...], people: Sequence[Sequence[int]]) -> MarkedText:
    for chosen in people:
        _check_length(tokens, chosen, "human_attention")
    votes = [sum(map(int, chosen)) for chosen in zip(*people, strict=True)]
    return MarkedText(tokens, frozenset(place for place, count in enumerate(votes) if 2 * count >= len(people)))


def _check_length(tokens: Sequence[str], values: Sequence[int], column: str) -> None:
    if len(values) != len(tokens):
        raise ValueError(f"{column} has {len(values)} values for {len(tokens)} tokens")


_COLUMNS: dict[str, Callable[[tuple[str, ...], Any], MarkedText]] = {
    "token_labels": _read_token_labels,
    "rationales": _read_rationales,
    "human_attention": _read_human_attention,
}
