"""Character offsets in the unit that the caller counts in.

Python counts code points, JavaScript and Java UTF-16 units, Go and Rust bytes of UTF-8.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Literal

from models.words import Span

OffsetUnit = Literal["codepoint", "utf16", "byte"]


def convert_spans(text: str, spans: Sequence[Span], unit: OffsetUnit) -> list[Span]:
    """Spans of `text` that are given in code points, converted to `unit`."""
    if unit == "codepoint" or text.isascii():
        return list(spans)
    widths = _utf16_widths(text) if unit == "utf16" else _byte_widths(text)
    positions = list(accumulate(widths, initial=0))
    return [Span(positions[start], positions[end]) for start, end in spans]


def _utf16_widths(text: str) -> Iterable[int]:
    return (2 if character > "\uffff" else 1 for character in text)


def _byte_widths(text: str) -> Iterable[int]:
    return (len(character.encode()) for character in text)
