"""`python -m benchmarks.beside`: servers of the same graph in turn, and `steadfast score` beside an earlier commit."""

import statistics
import subprocess
from functools import partial
from pathlib import Path
from typing import Annotated

import rich
import typer

from benchmarks.beside import report
from benchmarks.serving import ROOT, score_seconds, take_turns
from benchmarks.texts import make_mixed_texts

LENGTHS = (4, 90)
"""Fewest and most words of a text to score."""


def main(
    earlier: Annotated[str | None, typer.Option(help="Commit whose server and `score` take part too.")] = None,
    texts: Annotated[int, typer.Option(help="Texts to score, of 4 to 90 words.")] = 20_000,
    rounds: Annotated[int, typer.Option(help="Times that each of the two scores them.")] = 3,
) -> None:
    """Measure the servers in turn, and then `score`."""
    show = partial(rich.get_console().print, soft_wrap=True)
    code = None if earlier is None else check_out(earlier)
    for line in report(ROOT / "zoo", code):
        show(line)
    if code is None:
        return
    mixed = make_mixed_texts(texts, words=LENGTHS)
    measured = take_turns(
        {"Steadfast": partial(score_seconds, mixed), "earlier": partial(score_seconds, mixed, code)}, rounds=rounds
    )
    ratio = statistics.median(mine / other for mine, other in zip(*measured.values(), strict=True))
    mine, other = (statistics.median(seconds) * 1000 for seconds in measured.values())
    show(f"score, {texts:,} texts: {mine:.2f} CPU-ms a text, earlier {other:.2f}; x earlier {ratio:.2f}")


def check_out(commit: str) -> Path:
    """A folder under `build/earlier/` with the files of a commit."""
    folder = ROOT / "build" / "earlier" / commit
    if not folder.is_dir():
        subprocess.run(["git", "worktree", "add", "--detach", folder, commit], cwd=ROOT, check=True)
    return folder


if __name__ == "__main__":
    typer.run(main)
