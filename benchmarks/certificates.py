"""`python -m benchmarks.certificates`: how many answers are certified, at what cost, and whether this is true.

Random edits of certified inputs are asked for one by one, by the path that callers take; none may change its answer.
"""

import random
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from models.data import load_items
from models.edits import find_family
from models.tasks.task import Item
from service.answers.certificate import Certificate, CertifiedFamily
from service.answers.certifying import apply_edit, list_edits
from service.answers.contract import Options
from service.answers.opening import open_measured
from service.answers.predictor import Predictor

app = typer.Typer()


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(metavar="PACKAGE", help="Package to certify answers of.")],
    data: Annotated[str, typer.Option(help="Folder of the records.")],
    part: Annotated[str, typer.Option(help="Part with the records.")],
    family: Annotated[CertifiedFamily, typer.Option(help="Family of edits.")] = "typos",
    rows: Annotated[int, typer.Option(min=1, help="Certify the first so many records.")] = 100,
    edits: Annotated[int, typer.Option(help="Random edits to ask for, of the records that hold.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the random edits.")] = 0,
) -> None:
    """Print the share that holds, edits and CPU seconds of a record, and how many random edits changed an answer."""
    with open_measured(folder) as predictor:
        items = list(islice(load_items(data, part, predictor.task), rows))
        began = time.process_time()
        certificates = [_certify(predictor, item, family) for item in track(items, "certifying")]
        seconds = (time.process_time() - began) / len(items)
        holding = [item for item, one in zip(items, certificates, strict=True) if one is not None and one.holds]
        asked, changed = ask_edits(predictor, holding, family, edits, random.Random(seed))
    tried = sum(one.edits for one in certificates if one is not None) / len(items)
    Console().print(
        f"{len(holding)} of {len(items)} hold ({family}); {tried:,.0f} edits and {seconds:.2f} CPU-s a record; "
        f"{changed} of {asked:,} random edits of those that hold changed an answer"
    )
    if changed:
        raise typer.Exit(1)


def _certify(predictor: Predictor, item: Item, family: CertifiedFamily) -> Certificate | None:
    result: Any = predictor.answer([item], Options(certify=family)).results[0]
    certificate: Certificate | None = result.certificate
    return certificate


def ask_edits(
    predictor: Predictor, holding: Sequence[Item], family: CertifiedFamily, edits: int, draw: random.Random
) -> tuple[int, int]:
    """Ask for so many random edits of items drawn at random, if any can be edited; how many, and how many changed."""
    edited = [
        (item, found, _answer(predictor, item))
        for item in holding
        if (found := list(list_edits(predictor.task, item, find_family(family))))
    ]
    asked = edits if edited else 0
    changed = 0
    for _ in track(range(asked), "asking for edits"):
        item, candidates, before = draw.choice(edited)
        changed += predictor.task.changed(before, _answer(predictor, apply_edit(item, draw.choice(candidates))))
    return asked, changed


def _answer(predictor: Predictor, item: Item) -> Any:
    return predictor.answer([item], Options()).results[0]


if __name__ == "__main__":
    app()
