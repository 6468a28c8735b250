"""What tests of training runs share: a watcher that says nothing, and the comparison of two checkpoints."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from models.training.run import Watcher


def ignore(*_: object) -> None:
    """Ignore a run's lines and steps."""


SILENT = Watcher(say=ignore, advance=ignore)


def same_weights(left: Path, right: Path) -> bool:
    """Whether two checkpoints hold the same tensors, to the bit."""
    a, b = (load_file(folder / "model.safetensors") for folder in (left, right))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
