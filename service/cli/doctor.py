"""`steadfast doctor`: what this machine has, and how each package would run on it."""

import statistics
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from export.package import Manifest, read_manifest
from export.prepacked import UnusableCache, entry_bytes, private_folder
from export.providers import fit_to_device
from export.runtime import onnxruntime
from models.cpu import cpu_flags, cpu_model
from models.errors import UserError
from models.machine import available_cores, available_memory, cpu_quotas
from service.answers.packages import find_replaced, open_pinned, package_folders
from service.cli.options import PackageFolders
from service.settings import Settings, read_settings

if TYPE_CHECKING:
    from service.answers.predictor import Predictor

TYPICAL_TOKENS = 32
"""Tokens of about a sentence, special tokens included; the row nearest to it is timed."""

LONE_RUNS = 15
"""How often the row is timed alone; the median counts."""

CROWD_ROWS = 128
"""How many such rows are timed together."""


def doctor(packages: PackageFolders = None) -> None:
    """Show what this machine has, and whether and how fast each package runs on it.

    ```sh
    steadfast doctor
    steadfast doctor zoo/sentiment
    ```

    The exit code is 1 if a package does not run.
    """
    settings = read_settings(packages=packages or None)
    for name, found in describe_machine(settings):
        typer.echo(f"{name:<14}{found}")
    folders = package_folders(settings)
    replaced = find_replaced(_readable(folders), settings.provider)
    all_run = True
    for folder in folders:
        if folder in replaced:
            typer.echo(f"{'passed over':<14}{folder}: on {settings.provider}, {replaced[folder]} answers in its place")
            continue
        examination = examine_package(folder, settings)
        all_run &= examination.runs
        typer.echo(f"{'runs' if examination.runs else 'FAILS':<14}{examination.detail}")
    if not all_run:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Examination:
    """Whether a package runs on this machine."""

    runs: bool
    detail: str
    """The graph that runs, on what and how fast; or the reason why none does."""


def describe_machine(settings: Settings) -> Iterator[tuple[str, str]]:
    """The parts of the machine that matter, by name."""
    quotas = [f"{quota:g}" for quota in cpu_quotas()]
    yield "cpu", cpu_model() or "unknown"
    yield "instructions", ", ".join(cpu_flags()) or "none that speed up products of matrices"
    yield "cores", f"{available_cores()} usable" + (f", by quotas of {', '.join(quotas)}" if quotas else "")
    yield "threads", f"{settings.threads} for all models together"
    yield "memory", f"{available_memory() / 2**30:.1f} GiB"
    yield "python", sys.version.split()[0]
    yield "onnxruntime", f"{onnxruntime.__version__} with {', '.join(onnxruntime.get_available_providers())}"
    yield "cache", _describe_cache(settings.cache)


def examine_package(folder: Path, settings: Settings) -> Examination:
    """Start the package as a server would, and time it."""
    from service.answers.opening import start_predictor
    from service.engine.pool import Pool

    try:
        package = fit_to_device(open_pinned(folder, settings), settings.provider)
        # What is said of a fallback stands in the line below.
        with Pool(settings.threads) as pool, start_predictor(package, settings, pool, lambda *_: None) as predictor:
            predictor.warm_up()
            fallback = (
                "; int8 gives other answers here than where it was made" if predictor.package.uses_fallback else ""
            )
            speed = _measure(predictor)
    except UserError as error:
        said = str(error)
        return Examination(False, said if said.startswith(str(folder)) else f"{folder}: {said}")
    name = predictor.name
    graph = (
        f"{folder}: {name.name} answers {predictor.task.endpoint} in {name.precision} on {settings.provider}{fallback}"
    )
    return Examination(True, f"{graph}; probes reproduce; {speed}")


def _readable(folders: Iterable[Path]) -> Iterator[tuple[Path, Manifest]]:
    """The folders whose manifest can be read; the others fail when they are examined."""
    for folder in folders:
        with suppress(UserError):
            yield folder, read_manifest(folder)


def _describe_cache(cache: Path | None) -> str:
    if cache is None:
        return "off; each process packs the weights for itself"
    try:
        sizes = list(entry_bytes(private_folder(cache)))
    except UnusableCache as error:
        return f"not usable: {error}"
    return f"{cache}, usable; {len(sizes)} graphs with packed weights, {sum(sizes) / 1e6:.0f} MB"


def _measure(predictor: "Predictor") -> str:
    row = min(predictor.sample_rows(), key=lambda row: abs(len(row) - TYPICAL_TOKENS))
    lone_s = statistics.median(predictor.time_rows([row]) for _ in range(LONE_RUNS))
    crowd_s = predictor.time_rows([row] * CROWD_ROWS)
    alone, together = f"{lone_s * 1000:.1f} ms", f"{CROWD_ROWS / crowd_s:,.0f}"
    return f"a row of {len(row)} tokens takes {alone} alone, {together} such rows a second are computed in batches"
