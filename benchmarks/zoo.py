"""`python -m benchmarks.zoo`: trains the packages of `zoo/` again, by their recipes, with the twins beside them.

A recipe is a folder of `zoo/recipes/` with a settings file for each stage; a stage starts from the one before it. The
twin of a package goes through the same stages without their noise, or by plain training where no stage has any. The
package as it was trained is measured too, before it is changed: `CHANGES` says how.
Whatever is there already is not made again, and a training that was stopped goes on.
"""

import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from models.errors import UserError
from models.folders import check_folder
from models.training.settings import read_toml

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "zoo" / "recipes"
TASKS = ("sentiment", "nli", "sts", "paraphrase", "ner", "reading-comprehension")
AFTER = {"sts": "nli", "reading-comprehension": "nli"}
"""Tasks whose first stage starts from the first stage of another."""

CORRECTED = ("--correct",)
CHANGES = {"sentiment": (*CORRECTED, "--blind", "0.5")}
"""How `steadfast measure` changes a package that is trained; the others are made to correct texts alone."""

BASE = "sentence-transformers/all-MiniLM-L6-v2"

app = typer.Typer()


class NoRecipe(UserError):
    """A task that has no recipe, or one that another must be made before."""


@dataclass(frozen=True)
class Step:
    """A command of `steadfast` that makes a folder."""

    made: Path
    arguments: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        """The command with this Python."""
        return [sys.executable, "-m", "service.cli", *self.arguments]


@app.command()
def main(
    data: Annotated[str, typer.Option(help="Folder with a folder of data for each task.")],
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks to make packages for. Without them: all.")] = None,
    base: Annotated[str, typer.Option(help="Encoder to start from: a folder or an id on the hub.")] = BASE,
    out: Annotated[Path, typer.Option(help="Folder for the checkpoints and packages.")] = Path("build/zoo"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands, and stop.")] = False,
) -> None:
    """Train packages as those of the zoo were trained, and measure them."""
    try:
        chosen = tasks or TASKS
        steps = [step for place, task in enumerate(chosen) for step in plan(task, data, base, out, chosen[:place])]
        if not dry_run:
            check_folder(data)
    except UserError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    for step in steps:
        typer.echo(shlex.join(["steadfast", *step.arguments]))
        if not dry_run and not step.made.exists() and subprocess.run(step.command, check=False).returncode:
            raise typer.Exit(1)


def plan(task: str, data: str, base: str, out: Path, made: Sequence[str] = TASKS) -> Iterator[Step]:
    """The steps for one task: the twin's stages, the package's own, both exports, the twin's first, and the changes.

    Raises:
        NoRecipe: there is none for the task, or the task that it starts from is neither in `made`, which are made
            before, nor there already.
    """
    stages = sorted((RECIPES / task).glob("*.toml"))
    if not stages:
        raise NoRecipe(f"no recipe for {task!r}; there are: {', '.join(TASKS)}")
    earlier = AFTER.get(task)
    if earlier and earlier not in made and not _stage(out, earlier, _first(earlier)).exists():
        raise NoRecipe(f"{task} starts from a model for {earlier}; name {earlier} before it")
    start = str(_stage(out, earlier, _first(earlier))) if earlier else base
    folder = str(Path(data) / task.replace("-", "_"))
    noisy = [stage for stage in stages if "noise" in read_toml(stage)]
    otherwise = ("--noise", "none") if noisy else ("--method", "plain")
    ends = {}
    for is_twin in (True, False):
        before = start
        for stage in stages:
            differs = stage in (noisy or stages)
            trained = _stage(out, task, stage, is_twin=is_twin and differs)
            if differs or is_twin:
                arguments = ("train", "--config", str(stage), "--base", before, "--data", folder, "--out", str(trained))
                yield Step(trained, (*arguments, *(otherwise if is_twin and differs else ())))
            before = str(trained)
        ends[is_twin] = before
    twin, trained = out / f"{task}-twin", out / f"{task}-as-trained"
    measured = ("--robust", "--explanations", "--data", folder)
    yield Step(twin, ("export", ends[True], "--out", str(twin), *measured))
    yield Step(trained, ("export", ends[False], "--out", str(trained), "--twin", str(twin), *measured))
    changes = CHANGES.get(task, CORRECTED)
    yield Step(out / task, ("measure", str(trained), "--out", str(out / task), *changes, *measured))


def _first(task: str) -> Path:
    return min((RECIPES / task).glob("*.toml"))


def _stage(out: Path, task: str, stage: Path, *, is_twin: bool = False) -> Path:
    """The checkpoint of a stage."""
    return out / "stages" / f"{task}-{stage.stem}{'-twin' if is_twin else ''}"


if __name__ == "__main__":
    app()
