"""The end of a run over files: its counts and its summary on stderr, and the files of these that were asked for."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from models.folders import check_writable
from service.pages.saving import check_page, save_text

if TYPE_CHECKING:
    from service.files.counts import Counts


def check_beside(summary: Path | None, report: Path | None) -> None:
    """Refuse files that cannot be written, before anything is computed; raises PageError, NotWritable."""
    if summary:
        check_writable(summary, "--summary")
    if report:
        check_page(report, "--report")


def show(counts: "Counts", source: str, summary: Path | None, page: Path | None) -> None:
    """Say how a run over `source` went, on stderr and in these files, and end with its exit code."""
    from service.outcomes.wording import describe
    from service.pages.report import report

    answers = counts.answers
    for line in (str(counts), *(describe(answers) if answers else ())):
        typer.echo(line, err=True)
    if answers and summary:
        save_text(summary, answers.model_dump_json(indent=2) + "\n")
    if answers and page:
        save_text(page, report(answers, source=source))
    if counts.exit_code:
        raise typer.Exit(counts.exit_code)
