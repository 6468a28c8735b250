"""The schemes by which data sets tag the words of entities."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.entity_tags import OUTSIDE, as_bio
from models.tasks.ner import NER, NerExample, encode, find_entities
from models.text import Reader, ReadingLimits
from tests.tiny import make_tokenizer

READER = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=64))

Entities = list[tuple[range, str]]


@st.composite
def texts(draw: st.DrawFn) -> tuple[int, Entities]:
    """The number of words of a text, and its entities in order."""
    entities, at = [], 0
    for gap, length, kind in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(["person", "creative-work"])))
    ):
        entities.append((range(at + gap, at + gap + length), kind))
        at += gap + length
    return at + draw(st.integers(0, 2)), entities


def tagged(words: int, entities: Entities, first: str, inner: str, last: str, only: str) -> list[str]:
    """The tags under a scheme, by its letters for the places in an entity."""
    tags = [OUTSIDE] * words
    for span, kind in entities:
        letters = only if len(span) == 1 else first + inner * (len(span) - 2) + last
        tags[span.start : span.stop] = [f"{letter}-{kind}" for letter in letters]
    return tags


def in_iob1(words: int, entities: Entities) -> list[str]:
    tags = tagged(words, entities, "I", "I", "I", "I")
    for (before, kind), (span, other) in pairwise(entities):
        if before.stop == span.start and kind == other:
            tags[span.start] = f"B-{kind}"
    return tags


@given(texts())
def test_all_schemes_of_the_same_entities_become_the_same_tags(text: tuple[int, Entities]) -> None:
    words, entities = text
    bio = tagged(words, entities, "B", "I", "I", "B")
    assert list(find_entities(bio)) == entities
    for tags in (
        bio,
        in_iob1(words, entities),
        tagged(words, entities, "B", "I", "E", "S"),
        tagged(words, entities, "B", "I", "L", "U"),
    ):
        assert as_bio(tags) == bio


@given(texts())
def test_neighbours_of_one_kind_without_letters_are_one_entity(text: tuple[int, Entities]) -> None:
    words, entities = text
    kinds = [OUTSIDE] * words
    for span, kind in entities:
        kinds[span.start : span.stop] = [kind] * len(span)
    found = as_bio(kinds)
    assert [tag[2:] or tag for tag in found] == kinds
    assert all(first.startswith(("O", "B-")) or first[2:] == before[2:] for before, first in pairwise(found))


@pytest.mark.parametrize(
    "tags",
    [
        ["B-person", "I-person", "O", "B-location"],
        ["I-person", "I-person", "O", "I-location"],
        ["B-PERSON", "E-PERSON", "O", "S-LOCATION"],
        ["B-person", "L-person", "O", "U-location"],
        ["person", "person", "O", "location"],
        ["b-person", "i-person", "o", "b-location"],
        '["B-person", "L-person", "O", "U-location"]',
        [9, 10, 0, 7],
    ],
)
def test_a_record_is_read_alike_in_every_scheme(tags: Sequence[str]) -> None:
    encoded = encode(NerExample(tokens=("Ada", "Lovelace", "in", "London")), READER, "right")
    found = NER.read_target(tags, encoded, NER.outputs)
    assert [NER.outputs.labels[number] for number in found] == ["B-person", "I-person", "O", "B-location"]


def test_a_kind_that_the_model_lacks_is_refused() -> None:
    encoded = encode(NerExample(tokens=("Ada",)), READER, "right")
    with pytest.raises(ValueError, match="label 'B-animal' is none of: 0 or 'O'"):
        NER.read_target(["U-animal"], encoded, NER.outputs)
