"""Finds the tokens at which a row holds a word or a span of the text."""

import bisect
from collections.abc import Sequence

from models.tasks.task import Head
from models.text import Encoded, Row
from models.words import Span


def first_tokens(encoded: Encoded) -> dict[int, tuple[int, int]]:
    """By word, the row and position of its first token; of several rows, the one where it is farthest from the ends.

    Words that the tokenizer drops, such as lone variation selectors, are left out.
    """
    (field,) = encoded.texts
    best: dict[int, tuple[int, int]] = {}
    places: dict[int, tuple[int, int]] = {}
    starts = [word.start for word in encoded.words]
    for number, row in enumerate(encoded.rows):
        for word, (start, position) in _firsts_in_row(row, field, encoded.words, starts).items():
            # The earliest first: a window may begin in the middle of a word.
            rank = (-start, min(position, len(row) - 1 - position))
            if word not in best or rank > best[word]:
                best[word], places[word] = rank, (number, position)
    return places


def find_tokens(row: Row, span: Span | None) -> tuple[int, int]:
    """First and last token of a span of the context; (0, 0), which stands for no answer, where it is not in the row."""
    if span is None:
        return 0, 0
    inside = [
        (place, token) for place, token in row.spans("context") if token.start < span.end and token.end > span.start
    ]
    is_whole = inside and inside[0][1].start <= span.start and inside[-1][1].end >= span.end
    return (inside[0][0], inside[-1][0]) if is_whole else (0, 0)


def _firsts_in_row(row: Row, field: str, words: Sequence[Span], starts: Sequence[int]) -> dict[int, tuple[int, int]]:
    """By word, the offset and position of the first of the row's tokens in it; later tokens of the word follow it."""
    firsts: dict[int, tuple[int, int]] = {}
    for position, (start, end) in row.spans(field):
        first = max(bisect.bisect_right(starts, start) - 1, 0)
        for number in range(first, len(words)):
            if words[number].start >= end:
                break
            if words[number].end > start:
                # Tokenizers that put a space before texts leave one in the first token of a window.
                firsts.setdefault(number, (max(start, words[number].start), position))
    return firsts


def answer_places(head: Head, encoded: Encoded) -> list[int]:
    """Where a text that is cut to one row holds its answers: the first token of each word, -1 for a word that is not in
    the row, where words are labelled; each token of the context where spans are found; else nothing.

    Two versions of a text can be compared place by place, as long as they have the same words, or the same context.
    """
    if head == "token-classification":
        found = first_tokens(encoded)
        return [found[word][1] if word in found else -1 for word in range(len(encoded.words))]
    if head == "question-answering":
        return [position for position, _ in encoded.rows[0].spans("context")]
    return []
