"""Named arrays from outside, at which a method's formulas are evaluated. They are checked once, then trusted."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from models.errors import UserError


class WrongArray(UserError):
    """An array that is missing, unknown, or of another shape or kind."""


class NamedArrays:
    """Arrays by name; an axis that is named in several of them must have the same size in all.

    Axes are written as in shape annotations: names with spaces between, "" for a single number, and a last "..." for
    any further axes.
    """

    def __init__(self, given: Mapping[str, np.ndarray]) -> None:
        self._given = given
        self._asked: list[str] = []
        self._sizes: dict[str, tuple[int, str]] = {}

    def floats(self, name: str, axes: str) -> Float64[Tensor, "*axes"]:
        """The array as real numbers in float64; raises WrongArray."""
        return torch.from_numpy(self._take(name, axes).astype(np.float64))

    def integers(self, name: str, axes: str) -> Int64[Tensor, "*axes"]:
        """The array as whole numbers; raises WrongArray."""
        array = self._take(name, axes)
        if (array != np.floor(array)).any():
            raise WrongArray(f"array {name!r} holds fractions; whole numbers are needed")
        return torch.from_numpy(array.astype(np.int64))

    def flags(self, name: str, axes: str) -> Bool[Tensor, "*axes"]:
        """The array of 0 and 1 as booleans; raises WrongArray."""
        array = self._take(name, axes)
        if not np.isin(array, (0, 1)).all():
            raise WrongArray(f"array {name!r} holds more than 0 and 1")
        return torch.from_numpy(array.astype(np.bool_))

    def number(self, name: str, default: float | None = None) -> float:
        """A single number; if it was not given, `default`. Raises WrongArray if there is no default either."""
        if default is not None and not self.has(name):
            return default
        return self.floats(name, "").item()

    def has(self, *names: str) -> bool:
        """True if any of these was given: they form a group, of which all are needed then."""
        self._asked += names
        return any(name in self._given for name in names)

    def finish(self) -> None:
        """Raise WrongArray if an array was given that nothing asked for, since its name may be a slip."""
        if unknown := sorted(set(self._given) - set(self._asked)):
            known = ", ".join(dict.fromkeys(self._asked))
            raise WrongArray(f"unknown arrays: {', '.join(unknown)}; these can be given: {known}")

    def _take(self, name: str, axes: str) -> np.ndarray:
        if not self.has(name):
            raise WrongArray(f"no array {name!r}; it is needed, with axes ({', '.join(axes.split())})")
        array = np.asarray(self._given[name])
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
            raise WrongArray(f"array {name!r} ({array.dtype}) must hold finite real numbers")
        self._check_shape(name, array, axes.split())
        return array

    def _check_shape(self, name: str, array: np.ndarray, axes: list[str]) -> None:
        wanted = [axis for axis in axes if axis != "..."]
        fits = array.ndim >= len(wanted) if wanted != axes else array.ndim == len(wanted)
        if not fits:
            raise WrongArray(f"array {name!r} has shape {array.shape}; its axes are ({', '.join(axes)})")
        for axis, size in zip(wanted, array.shape, strict=False):
            known, where = self._sizes.setdefault(axis, (size, name))
            if size != known:
                raise WrongArray(f"array {name!r} has {size} along axis {axis!r}, but {where!r} has {known}")
