"""`steadfast certify`: whether any edit of one word changes an answer."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.progress import track

from models.edits.family import LONGEST
from models.edits.typos import SHORTEST
from models.tasks.task import Item
from service.answers.answers import Answers
from service.answers.certificate import Certificate, CertifiedFamily
from service.answers.contract import Options
from service.answers.predictor import Predictor
from service.cli.inputs import Texts, read_items, read_texts
from service.cli.options import PackageFolder, TaskName
from service.cli.progress import console
from service.cli.terminal import harmless, show_json

_NOTHING_TO_EDIT: dict[CertifiedFamily, str] = {
    "typos": f"typos change words of {SHORTEST} to {LONGEST} letters of a to z, and the text has none",
    "synonyms": "synonyms change words for which WordNet has others that mean the same, and the text has none",
}


def certify(
    task: TaskName,
    texts: Texts = None,
    family: Annotated[CertifiedFamily, typer.Option("--family", help="The edits to try.")] = "typos",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, as HTTP gives it.")] = False,
    package: PackageFolder = None,
) -> None:
    """Try every edit of one word of a few texts, and say whether one changes the answer.

    `typos` are all misspellings of one letter inside words of four to fifty letters; `synonyms` are words of WordNet
    that mean the same. A certificate holds for the text, the package and the family that it was made with.

    ```sh
    steadfast certify sentiment "a wonderful film"
    steadfast certify nli "It rained all day." "The sun shone." \\
        --family synonyms
    ```

    Texts are given as to `steadfast predict`. `steadfast score --certify` does the same for a file. The exit code is 0
    if every text has a certificate that holds, else 1.
    """
    from service.answers.opening import open_predictor

    read = read_texts(texts)
    with open_predictor(task, package) as predictor:
        items = read_items(predictor.task, read)
        answers = _certify(predictor, items, Options(certify=family))
    if as_json:
        show_json([result for one in answers for result in one.results])
    for number, one in enumerate(answers, start=1):
        for refused in one.uncertified:
            typer.echo(f"input {number} has no certificate: {refused.reason}", err=True)
        if not as_json:
            typer.echo("\n".join(_describe(one)))
    if not all(result.certificate and result.certificate.holds for one in answers for result in one.results):
        raise typer.Exit(1)


def _certify(predictor: Predictor, items: Sequence[Item], options: Options) -> list[Answers]:
    """The answers to the items, one after the other under a bar where there are several."""
    is_shown = console.is_terminal and len(items) > 1
    return [
        predictor.answer([item], options) for item in track(items, "certifying", console=console, disable=not is_shown)
    ]


def _describe(answers: Answers) -> list[str]:
    (result,) = answers.results
    lines = [harmless(line) for line in result.headlines()]
    return lines if result.certificate is None else [*lines, harmless(_sentence(result.certificate))]


def _sentence(certificate: Certificate) -> str:
    if not certificate.edits:
        return f"nothing to try: {_NOTHING_TO_EDIT[certificate.family]}"
    found, count = certificate.counterexample, f"{certificate.edits:,} edits ({certificate.family})"
    if found:
        return f"does not hold: {found.text} -> {found.replacement} gives {found.answer}; {count} were tried"
    if certificate.holds:
        return f"holds: none of {count} changes the answer"
    return f"does not hold: of {count}, {certificate.edits - certificate.tried:,} make a text that cannot be read"
