"""Cells and tables as people read them."""

import pytest

from models.tables import format_cell, markdown_table


@pytest.mark.parametrize(
    ("value", "spread", "cell"),
    [(None, None, ""), (0.91237, None, "0.9124"), (872, None, "872"), (0.5, 0.01, "0.5000 ± 0.0100")],
)
def test_figures_have_four_decimals_and_counts_have_none(value: float | None, spread: float | None, cell: str) -> None:
    assert format_cell(value, spread) == cell


@pytest.mark.parametrize(("value", "cell"), [(0.5, "+0.5000"), (-0.5, "-0.5000")])
def test_a_difference_shows_its_sign(value: float, cell: str) -> None:
    assert format_cell(value, signed=True) == cell


def test_a_table_has_a_head_and_a_line_for_each_row() -> None:
    assert markdown_table(("a", "b"), [("1", "2"), ("3", "4")]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| 1 | 2 |",
        "| 3 | 4 |",
    ]
