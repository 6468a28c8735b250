"""The figures of an attack, against counts by hand."""

import math

import pytest

from models.attack.outcomes import Outcome, Status, WordEdit
from models.attack.report import any_of, sum_up

EDIT = WordEdit(field="text", start=0, end=4, text="good", to="godo")


def outcome(status: Status, *, queries: int = 10, exhausted: bool = False, similarity: float | None = None) -> Outcome:
    return Outcome(
        record=1,
        status=status,
        queries=queries,
        words=5,
        exhausted=exhausted,
        edits=(EDIT,) if status == "fooled" else (),
        similarity=similarity,
    )


def test_figures_are_shares_of_the_records_that_were_read() -> None:
    found = sum_up(
        "typos",
        "2",
        [
            outcome("unread", queries=1),
            outcome("wrong", queries=1),
            outcome("held", queries=20, exhausted=True),
            outcome("fooled", queries=4, similarity=0.5),
            outcome("fooled", queries=6, similarity=0.7),
        ],
        transfer=0.25,
    )
    assert (found.rows, found.skipped, found.accuracy, found.under_attack) == (4, 1, 0.75, 0.25)
    assert found.standard_error == pytest.approx(math.sqrt(0.25 * 0.75 / 4))
    assert found.success_rate == pytest.approx(2 / 3)
    assert found.words_changed == pytest.approx(0.2)
    assert found.similarity == pytest.approx(0.6)
    assert (found.queries, found.exhausted, found.transfer) == (10, 1, 0.25)


@pytest.mark.parametrize("outcomes", [[], [outcome("unread")], [outcome("wrong")]])
def test_where_nothing_was_right_nothing_is_divided(outcomes: list[Outcome]) -> None:
    found = sum_up("typos", "2", outcomes)
    assert (found.accuracy, found.under_attack, found.success_rate, found.queries) == (0, 0, None, None)


def test_a_record_withstands_several_attacks_only_if_it_withstands_each() -> None:
    first = [outcome("held"), outcome("fooled"), outcome("wrong"), outcome("held")]
    second = [outcome("fooled"), outcome("held"), outcome("wrong"), outcome("held", exhausted=True)]
    together = any_of([first, second])
    assert [one.status for one in together] == ["fooled", "fooled", "wrong", "held"]
    assert [one.queries for one in together] == [20] * 4
    assert [one.exhausted for one in together] == [False, False, False, True]
