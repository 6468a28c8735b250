"""Predictors of the tiny packages, each opened when a test first asks for it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from export.package import open_package
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import Pool


@pytest.fixture(scope="module")
def opened(made: Callable[[str], Path]) -> Iterator[Callable[[str], Predictor]]:
    predictors: dict[str, Predictor] = {}
    with Pool(2) as pool:

        def find(task: str) -> Predictor:
            if task not in predictors:
                predictors[task] = Predictor(open_package(made(task) / "package"), EngineLimits(), pool)
            return predictors[task]

        yield find
        for predictor in predictors.values():
            predictor.close()
