"""`steadfast explain`: answers with their explanations, in the terminal or as a page."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from models.tasks.task import AnyTask
from service.answers.contract import Options
from service.answers.explanation import ExplainOptions, ExplanationMethod
from service.cli.inputs import Texts, read_items, read_texts
from service.cli.options import PackageFolder, TaskName
from service.cli.terminal import show, warn_unexplained
from service.pages.saving import check_page, save_text

Page = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write a page for a browser; a page of that name is replaced.")
]
Method = Annotated[
    Literal[ExplanationMethod, "best"],
    typer.Option(help="How to score words. `best` is the method that was measured most faithful to the model."),
]
Target = Annotated[
    str | None,
    typer.Option(
        metavar="ANSWER",
        help="Answer to explain in place of the one given: a label, a kind of entity, or a choice by its text or its "
        "place from 0.",
    ),
]


def explain(
    task: TaskName,
    texts: Texts = None,
    html: Page = None,
    method: Method = "best",
    target: Target = None,
    package: PackageFolder = None,
) -> None:
    """Explain answers for a few texts, in the terminal or as a page for a browser.

    The page is one file without script that loads nothing: send it, print it, open it on a phone.

    ```sh
    steadfast explain sentiment "not bad at all" "dull" --html page.html
    steadfast explain nli "It rained all day." "The sun shone." \\
        --target entailment --method occlusion --html page.html
    ```

    Texts are read as `steadfast predict` reads them; `steadfast predict --explain METHOD --json` has the numbers.
    """
    from service.answers.opening import open_predictor
    from service.files.target import refuse_to_overwrite

    if html is not None:
        check_page(html, "--html")
    read = read_texts(texts)
    with open_predictor(task, package) as predictor:
        if html is not None:
            refuse_to_overwrite([predictor.package.folder], [("--html", html)])
        items = read_items(predictor.task, read)
        asked = ExplainOptions(method=None if method == "best" else method, target=_read_target(predictor.task, target))
        answers = predictor.answer(items, Options(explain=asked))
        name = predictor.name
    if html is None:
        show(items, answers.results)
    else:
        from service.pages.page import page

        reasons = {one.index: str(one.reason) for one in answers.unexplained}
        save_text(html, page(name, items, answers.results, reasons))
        typer.echo(f"wrote {html}", err=True)
    warn_unexplained(answers.unexplained)


def _read_target(task: AnyTask, target: str | None) -> str | int | None:
    """A number is a place where answers are the caller's texts, and else a label's name."""
    by_place = task.targets is not None and task.targets.are_texts
    return int(target) if target and by_place and target.isascii() and target.isdigit() else target
