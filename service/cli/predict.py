"""`steadfast predict`: answers for a few texts given by hand."""

from typing import Annotated

import typer

from service.answers.contract import Options
from service.cli.inputs import Texts, read_items, read_texts
from service.cli.options import Explain, PackageFolder, TaskName, explain_options
from service.cli.terminal import show, show_json, warn_unexplained


def predict(
    task: TaskName,
    texts: Texts = None,
    explain: Explain = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, as HTTP gives it.")] = False,
    package: PackageFolder = None,
) -> None:
    """Answer for a few texts.

    With `--explain` the words are coloured, the stronger the more they count: blue for the answer and orange against
    it, or yellow where the method does not tell. Without colour, or with 16 colours, they carry signs.

    ```sh
    steadfast predict sentiment "not bad at all" "dull" --explain best
    steadfast predict sentiment --json < review.txt
    ```

    A task that reads several texts takes them in its own order, and then those of the next input. The last field of
    reading-comprehension, the choices, takes all texts that are left.

    ```sh
    steadfast predict nli "It rained all day." "The sun shone."
    steadfast predict reading-comprehension - \\
        "Who won?" "the red team" "the blue team" < report.txt
    ```
    """
    from service.answers.opening import open_predictor

    read = read_texts(texts)
    with open_predictor(task, package) as predictor:
        items = read_items(predictor.task, read)
        answers = predictor.answer(items, Options(explain=explain_options(explain)))
    if as_json:
        show_json(answers.results)
    else:
        show(items, answers.results)
    warn_unexplained(answers.unexplained)
