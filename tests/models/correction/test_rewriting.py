"""Rewritten texts: what is read, and the way back to what was written, against a record of every character."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.correction.rewriting import Change, Rewriting, rewrite, rewrite_again
from models.words import Span


@st.composite
def changes_of(draw: st.DrawFn, text: str) -> list[Change]:
    edges = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = draw(st.lists(st.sampled_from([Span(*pair) for pair in pairwise(edges)]), unique=True)) if edges[1:] else []
    return [Change(span, draw(st.text("xyz", max_size=3))) for span in sorted(spans)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, Rewriting, Rewriting]:
    """A text, a rewriting of it, and that rewriting with further changes."""
    text = draw(st.text("abcd", max_size=12))
    first = rewrite(text, draw(changes_of(text)))
    return text, first, rewrite_again(text, first, draw(changes_of(first.text)))


def replace_changes(text: str, rewriting: Rewriting) -> str:
    for span, to in reversed(rewriting.changes):
        text = text[: span.start] + to + text[span.end :]
    return text


@given(case=cases())
def test_each_change_replaced_in_the_written_text_gives_the_text_that_is_read(
    case: tuple[str, Rewriting, Rewriting],
) -> None:
    text, first, second = case
    assert (replace_changes(text, first), replace_changes(text, second)) == (first.text, second.text)
    for rewriting in (first, second):
        assert all(text[slice(*span)] != to for span, to in rewriting.changes)
        assert all(one.span.end <= other.span.start for one, other in pairwise(rewriting.changes))


@given(text=st.text("abcd", max_size=12), data=st.data())
def test_changes_of_changed_text_are_made_one_after_the_other(text: str, data: st.DataObject) -> None:
    first = rewrite(text, data.draw(changes_of(text)))
    later = data.draw(changes_of(first.text))
    assert rewrite_again(text, first, later).text == rewrite(first.text, later).text


@given(case=cases(), data=st.data())
def test_a_span_goes_back_to_all_that_its_characters_were_made_of(
    case: tuple[str, Rewriting, Rewriting], data: st.DataObject
) -> None:
    text, _, rewriting = case
    origins: list[Span] = []
    done = 0
    for span, to in rewriting.changes:
        origins += [Span(place, place + 1) for place in range(done, span.start)] + [span] * len(to)
        done = span.end
    origins += [Span(place, place + 1) for place in range(done, len(text))]
    if not origins:
        return
    start = data.draw(st.integers(0, len(origins) - 1))
    end = data.draw(st.integers(start + 1, len(origins)))
    assert rewriting.written(Span(start, end)) == (origins[start].start, origins[end - 1].end)


@pytest.mark.parametrize("changes", [[], [Change(Span(0, 1), "a")]])
def test_a_text_without_changes_is_itself(changes: list[Change]) -> None:
    text = "abc" * 9
    assert rewrite(text, changes).text is text
    assert not rewrite(text, changes).changes


def test_what_was_dropped_at_the_ends_of_a_word_is_no_part_of_it() -> None:
    rewriting = rewrite("-ab-cd-", [Change(Span(place, place + 1), "") for place in (0, 3, 6)])
    assert rewriting.text == "abcd"
    starts = list(accumulate([0, 1, 1, 1]))
    assert [rewriting.written(Span(start, start + 1)) for start in starts] == [(1, 2), (2, 3), (4, 5), (5, 6)]
    assert rewriting.written(Span(0, 4)) == (1, 6)
