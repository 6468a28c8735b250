"""Evaluation of a method's formulas at arrays from a file.

This serves to check the formulas against another implementation. The function `reference` in a method's module names
the arrays that the method takes and gives.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.errors import UserError
from models.robust import IMPLEMENTATIONS, find_implementation


class NoReference(UserError):
    """A method without formulas of its own."""


class NotFinite(UserError):
    """Results that are no numbers."""


class UnreadableInputs(UserError):
    """A file that holds no arrays by name."""


def evaluate(method: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray | float]:
    """The results of the formulas of `method` at `inputs`, by name.

    Raises:
        UnknownMethod, NoReference: with the names there are.
        WrongArray: an array is missing, unknown or misshapen.
    """
    reference = find_implementation(method).reference
    if reference is None:
        known = ", ".join(name for name, one in IMPLEMENTATIONS.items() if one.reference is not None)
        raise NoReference(f"method {method!r} has no formulas of its own; choose one of: {known}")
    return reference(inputs)


def read_inputs(path: Path) -> dict[str, np.ndarray]:
    """The arrays in an .npz file; raises UnreadableInputs."""
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.lib.npyio.NpzFile):
            with file:
                return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableInputs(f"{path}: cannot be read as an .npz file ({error})") from error
    raise UnreadableInputs(f"{path}: a single array; numpy.savez writes arrays by name")


def as_json(results: Mapping[str, np.ndarray | float]) -> str:
    """Results on one line, arrays as lists; raises NotFinite, since JSON has neither infinities nor NaN."""
    if broken := [name for name, value in results.items() if not np.isfinite(value).all()]:
        raise NotFinite(f"not finite at these inputs: {', '.join(broken)}")
    return json.dumps({name: np.asarray(value).tolist() for name, value in results.items()})
