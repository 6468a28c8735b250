"""Cells, counts and Markdown tables, as commands, model cards and comparisons write them."""

from collections.abc import Iterable, Sequence


def format_cell(value: float | None, spread: float | None = None, *, signed: bool = False) -> str:
    """A figure with four decimals, with ± its spread if there is one. Whole numbers stay so; None is an empty cell."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    shown = f"{value:+.4f}" if signed else f"{value:.4f}"
    return shown if spread is None else f"{shown} ± {spread:.4f}"


def format_count(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless the number is 1: "1 row", "2,000 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, without a newline at its end."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))
