"""Steadfast for Python programs: `from service import load`. Importing this package imports nothing else."""

from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from os import PathLike

    from service.python.model import Model
    from service.python.results import EntitiesResult, LabelResult, ReadingResult, SimilarityResult


@overload
def load(
    task: Literal["sentiment", "nli", "paraphrase"],
    *,
    package: "str | PathLike[str] | None" = None,
    threads: int | None = None,
) -> "Model[LabelResult]": ...


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
    from service import load

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
