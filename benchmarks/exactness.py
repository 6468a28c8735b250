"""How exactly graphs compute what eager torch computes, explanations included, on real texts.

`python -m benchmarks.exactness CHECKPOINT PACKAGE` reads validation texts of the checkpoint's own data, and compares
the fp32 graph of the checkpoint and the graph of the package with torch. Torch computes each row alone. The graphs
compute it alone, beside rows of its length, and beside rows of any length, with padding up to the longest of them.
"""

import random
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import rich
import typer

from export.gates.parity import run_torch
from export.graphs.finishing import write_graph
from export.origin import Origin, open_origin, read_validation
from export.package import open_package
from export.session import Arrays, Session
from models.errors import UserError
from models.networks.loading import load_served
from models.tasks.task import READ_AT_TOKENS
from models.text import Encoded, Row

TEXTS = 50
BATCH = 8
FEW = 4
"""Rows of so few numbers correlate by chance."""

Floats = npt.NDArray[np.float32]

app = typer.Typer()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One output of one graph against torch, over all rows."""

    largest_difference: float
    correlations: tuple[float, ...]
    """Pearson's correlation of each row with torch's; of all rows together where a row has few numbers."""
    same_bits: bool
    """Whether a row is the same alone, batched and padded."""


@app.command()
def main(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint; benchmarks.checkpoint makes one of a package.")],
    package: Annotated[Path, typer.Argument(help="Package that was exported from it.")],
    texts: Annotated[int, typer.Option(help="Number of validation records to compare.")] = TEXTS,
    data: Annotated[str | None, typer.Option(help="Folder of its data, if that has moved.")] = None,
) -> None:
    """Compare a checkpoint's graph, and a package of it, with eager torch on validation texts."""
    try:
        for line in report(checkpoint, package, texts=texts, data=data):
            rich.get_console().print(line, soft_wrap=True)
    except UserError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def report(checkpoint: Path, package: Path, *, texts: int = TEXTS, data: str | None = None) -> Iterator[str]:
    """The lines to print."""
    origin, opened = open_origin(checkpoint), open_package(package)
    encoded = [example.encoded for example in read_validation(origin, data).examples]
    chosen = random.Random(0).sample(encoded, min(texts, len(encoded)))
    model = load_served(checkpoint, origin.task.head)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "fp32.onnx"
        write_graph(model, origin.task.head, written)
        graphs = {"fp32": written, opened.manifest.precision: opened.graph}
        sessions = {name: Session(graph, pad_id=origin.pad_id) for name, graph in graphs.items()}
    rows = explained_rows(origin, sessions["fp32"], chosen)
    expected = [
        {name: array[0] for name, array in run_torch(model, origin.task.head, [row], origin.pad_id).items()}
        for row in rows
    ]
    lengths = sorted(map(len, rows))
    yield f"{package}: {len(chosen)} texts in {len(rows)} rows of {lengths[0]} to {lengths[-1]} tokens, against torch"
    yield f"  {'':<24}{'difference':>12}{'correlation: median':>22}{'least':>9}  alone, batched and padded"
    for name, session in sessions.items():
        for output, found in compare(session, rows, expected).items():
            yield _line(f"{name}: {output}", found)


def explained_rows(origin: Origin, session: Session, encoded: Sequence[Encoded]) -> list[Row]:
    """The rows of items, each with the first part of the answer that rests on it, to be explained.

    A row on which no part rests has its middle token's first logit explained, if answers of this head stand at tokens.
    """
    rows = []
    for item in encoded:
        logits = [session.run([row], ("logits",))[0]["logits"] for row in item.rows]
        parts = origin.task.decode(logits, item, origin.record.outputs).parts
        for number, row in enumerate(item.rows):
            part = next((part for part in parts if number in part.rows), None)
            if part is not None:
                rows.append(replace(row, read_at=part.read_at, target=part.target))
            elif origin.task.head in READ_AT_TOKENS:
                rows.append(replace(row, read_at=len(row) // 2, target={(len(row) // 2, 0): 1.0}))
            else:
                rows.append(row)
    return rows


def compare(session: Session, rows: Sequence[Row], expected: Sequence[Arrays]) -> dict[str, Comparison]:
    """Compare each output of a graph with what is expected of each row."""
    places = range(len(rows))
    alone, *others = (
        _run(session, rows, order, size)
        for order, size in (
            (places, 1),
            (sorted(places, key=lambda place: len(rows[place])), BATCH),
            (random.Random(0).sample(places, len(places)), BATCH),
        )
    )
    return {
        output: _compare([[one[output] for one in way] for way in (expected, alone, *others)])
        for output in session.outputs
    }


def _run(session: Session, rows: Sequence[Row], order: Sequence[int], size: int) -> list[Arrays]:
    """The outputs of all rows, in the order of `rows`, computed in another order."""
    found: dict[int, Arrays] = {}
    for start in range(0, len(order), size):
        places = order[start : start + size]
        found |= zip(places, session.run([rows[place] for place in places], session.outputs), strict=True)
    return [found[place] for place in range(len(rows))]


def _compare(ways: Sequence[Sequence[Floats]]) -> Comparison:
    """Compare one output of all rows, computed by torch, which comes first, and in several ways by the graph."""
    expected, *computed = ways
    pairs = [(found.ravel(), right.ravel()) for way in computed for found, right in zip(way, expected, strict=True)]
    largest = max(float(np.abs(found - right).max()) for found, right in pairs)
    if max(right.size for right in expected) <= FEW:
        pairs = [(np.concatenate(found), np.concatenate(right)) for found, right in [zip(*pairs, strict=True)]]
    return Comparison(
        largest_difference=largest,
        correlations=tuple(float(np.corrcoef(found, right)[0, 1]) for found, right in pairs),
        same_bits=all(len({way[place].tobytes() for way in computed}) == 1 for place in range(len(expected))),
    )


def _line(name: str, found: Comparison) -> str:
    median, least = statistics.median(found.correlations), min(found.correlations)
    bits = "the same bits" if found.same_bits else "other bits"
    return f"  {name:<24}{found.largest_difference:>12.2g}{median:>22.5f}{least:>9.5f}  {bits}"


if __name__ == "__main__":
    app()
