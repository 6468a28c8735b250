"""Opens the package that answers texts or is measured, with threads to compute on."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from export.package import PROBE_TOLERANCE, Package, open_package
from export.providers import fit_to_device
from models.errors import UserError, UserNotice
from models.machine import available_cores
from models.tasks import check_endpoint
from service.answers.packages import open_package_for
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import Pool
from service.settings import Settings, read_settings


class ProbeFailed(UserError):
    """A package gives other outputs on this machine than on the one where it was made."""


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
    with Pool(settings.threads) as pool, start_predictor(package, settings, pool, _notice, limits) as predictor:
        yield predictor


def _notice(fallback: Package, _: ProbeFailed) -> None:
    warnings.warn(
        f"{fallback.folder}: {fallback.manifest.precision} gives other answers here than where it was made; "
        f"{fallback.precision} answers, which takes longer",
        UserNotice,
        stacklevel=2,
    )


def start_predictor(
    package: Package,
    settings: Settings,
    pool: Pool,
    say_fallback: Callable[[Package, ProbeFailed], None],
    limits: EngineLimits | None = None,
) -> Predictor:
    """A predictor that reproduces the probes of its package, by the package's fp32 graph if int8 does not.

    `say_fallback` is told of that, and why. Without `limits`, those of the settings hold.

    Raises:
        ProbeFailed: no graph of the package reproduces them.
    """
    predictor = Predictor(
        package,
        limits or settings.engine_limits,
        pool,
        settings.provider,
        settings.cache,
        settings.max_occlusion_words,
        settings.max_certify_rows,
        settings.max_unknown_share,
    )
    try:
        check_probes(predictor)
    except BaseException as error:
        predictor.close(drain=False)
        fallback = package.fallback
        if fallback is None or not isinstance(error, ProbeFailed):
            raise
        say_fallback(fallback, error)
        return start_predictor(fallback, settings, pool, say_fallback, limits)
    return predictor


def check_probes(predictor: Predictor) -> None:
    """Run every probe of the package; raises ProbeFailed when one gives other outputs here than where it was made."""
    package = predictor.package
    tolerance = PROBE_TOLERANCE[package.precision]
    for number, probe in enumerate(package.probes, start=1):
        difference = predictor.replay(probe)
        if not difference <= tolerance:
            raise ProbeFailed(
                f"{package.folder}: probe {number} is off by {difference:.2g} in {package.precision}, more than "
                f"{tolerance}; export the package on this machine, in fp32, or so that fp32 comes along (--with-fp32)"
            )
