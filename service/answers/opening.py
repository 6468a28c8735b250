"""Opens the package that answers texts or is measured, with threads to compute on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from export.package import Package, open_package
from export.providers import fit_to_device
from models.machine import available_cores
from models.tasks import check_endpoint
from service.answers.packages import open_package_for
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import Pool
from service.settings import Settings, read_settings


@contextmanager
def open_predictor(task: str, folder: Path | None, *, threads: int | None = None) -> Iterator[Predictor]:
    """Answers `task` by the package in `folder`, or by the zoo's, while the context lasts.

    `threads` batches are computed at once; None for as many as the settings say.

    Raises:
        UnknownTask, PackageError, SettingsError: with what to do.
    """
    with open_as_set(task, read_settings(packages=[folder] if folder else None, threads=threads)) as predictor:
        yield predictor


@contextmanager
def open_as_set(task: str, settings: Settings) -> Iterator[Predictor]:
    """Answers `task` by the first package that the settings name for it; raises UnknownTask, PackageError."""
    with _opened(open_package_for(check_endpoint(task), settings), settings) as predictor:
        yield predictor


@contextmanager
def open_measured(folder: Path) -> Iterator[Predictor]:
    """The package in `folder`, whatever its task, while the context lasts; raises PackageError or SettingsError.

    It need not be one that the settings pin, because it answers nobody.
    """
    settings = read_settings(packages=[folder])
    with _opened(fit_to_device(open_package(folder), settings.provider), settings) as predictor:
        yield predictor


@contextmanager
def open_for_figures(folder: Path) -> Iterator[Predictor]:
    """The package in `folder` as it answers on CPUs by default, while the context lasts; raises PackageError.

    No setting of a server counts, because the figures that a package states are the same on every machine.
    """
    limits = EngineLimits(queued_rows=sys.maxsize, queued_tokens=sys.maxsize)
    with Pool(available_cores()) as pool, Predictor(open_package(folder), limits, pool) as predictor:
        yield predictor


@contextmanager
def _opened(package: Package, settings: Settings) -> Iterator[Predictor]:
    # The command is the only caller, and itself bounds how many rows it hands in at once.
    limits = replace(settings.engine_limits, queued_rows=sys.maxsize, queued_tokens=sys.maxsize)
    with (
        Pool(settings.threads) as pool,
        Predictor(
            package,
            limits,
            pool,
            settings.provider,
            settings.cache,
            settings.max_occlusion_words,
            settings.max_certify_rows,
        ) as predictor,
    ):
        yield predictor
