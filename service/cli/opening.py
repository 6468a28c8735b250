"""Opens the package that answers a command's texts, with threads to compute on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from models.tasks import check_endpoint
from service.answers.packages import open_package_for
from service.answers.predictor import Predictor
from service.engine.pool import Pool
from service.settings import read_settings


@contextmanager
def open_predictor(task: str, folder: Path | None) -> Iterator[Predictor]:
    """Answers `task` by the package in `folder`, or by the zoo's, while the context lasts.

    Raises:
        UnknownTask, PackageError, SettingsError: with what to do.
    """
    settings = read_settings(packages=[folder] if folder else None)
    # The command is the only caller, and itself bounds how many rows it hands in at once.
    limits = replace(settings.engine_limits, queued_rows=sys.maxsize, queued_tokens=sys.maxsize)
    package = open_package_for(check_endpoint(task), settings)
    with Pool(settings.threads) as pool, Predictor(package, limits, pool, settings.provider) as predictor:
        yield predictor
