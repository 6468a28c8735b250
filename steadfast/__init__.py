"""Steadfast for Python programs: `from steadfast import load, Client, AsyncClient`.

Importing this package imports nothing else; each name is loaded when it is asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from os import PathLike

    from models.errors import UserError
    from service.client import AsyncClient, Client, ClientError, NoSteadfast, Refused, Unreachable
    from service.python.model import Model, NotAnswered
    from service.python.results import (
        EntitiesResult,
        LabelResult,
        LabelsResult,
        ReadingResult,
        SimilarityResult,
    )

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "Model",
    "NoSteadfast",
    "NotAnswered",
    "Refused",
    "Unreachable",
    "UserError",
    "__version__",
    "load",
]

__version__: str
"""The version that is installed."""

_MODULES = {
    **dict.fromkeys(
        ["AsyncClient", "Client", "ClientError", "NoSteadfast", "Refused", "Unreachable"], "service.client"
    ),
    **dict.fromkeys(["Model", "NotAnswered"], "service.python.model"),
    "UserError": "models.errors",
}
"""The module that each name is loaded from."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("service.version").VERSION
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@overload
def load(
    task: Literal["sentiment", "nli", "paraphrase", "text-classification", "pair-classification"],
    *,
    package: "str | PathLike[str] | None" = None,
    threads: int | None = None,
) -> "Model[LabelResult]": ...


@overload
def load(
    task: Literal["multi-label-classification"],
    *,
    package: "str | PathLike[str] | None" = None,
    threads: int | None = None,
) -> "Model[LabelsResult]": ...


@overload
def load(
    task: Literal["sts"], *, package: "str | PathLike[str] | None" = None, threads: int | None = None
) -> "Model[SimilarityResult]": ...


@overload
def load(
    task: Literal["ner"], *, package: "str | PathLike[str] | None" = None, threads: int | None = None
) -> "Model[EntitiesResult]": ...


@overload
def load(
    task: Literal["reading-comprehension"],
    *,
    package: "str | PathLike[str] | None" = None,
    threads: int | None = None,
) -> "Model[ReadingResult]": ...


@overload
def load(task: str, *, package: "str | PathLike[str] | None" = None, threads: int | None = None) -> "Model[Any]": ...


def load(task: str, *, package: "str | PathLike[str] | None" = None, threads: int | None = None) -> "Model[Any]":
    """Load a model to score lists, DataFrames and Arrow tables with; it gives the answers that HTTP and `score` give.

    ```python
    from steadfast import load

    model = load("sentiment")
    for result in model.score(["A joy from start to end.", "Dull."]):
        print(result.label, result.score)
    ```

    Args:
        task: The name of an endpoint, such as `sentiment` or `nli`.
        package: Folder of a package. Without it, the zoo's package for the task, as `steadfast score` takes it.
        threads: Batches that are computed at once, each on a core. Default: as many as there are cores.

    Raises:
        UserError: there is no such task or package, or it is damaged; the sentence says what to do.
    """
    from service.python.model import open_model

    return open_model(task, package=package, threads=threads)
