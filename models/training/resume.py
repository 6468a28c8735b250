"""The state of an unfinished training run in one safetensors file, which is always whole.

No pickle: tensors by name, everything else as JSON in the file's metadata.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from models.atomic import atomic_write
from models.errors import UserError
from models.networks.encoder import Encoder

FORMAT = 1


class ResumeError(UserError):
    """A saved state that a run cannot go on from."""


@dataclass(frozen=True)
class Stateful:
    """The objects of a run whose state is saved and restored."""

    encoder: Encoder
    method: nn.Module
    optimizer: Optimizer
    average: AveragedModel | None = None
    """Mean of the weights that trainings have ended with so far; None where the run is a single training."""


def save_state(path: Path, objects: Stateful, saved: Mapping[str, Any]) -> None:
    """Write everything that the next step depends on, `saved` as JSON; interrupted, the file stays as it was before."""
    with atomic_write(path) as unfinished:
        save_file(_tensors(objects), unfinished, metadata={"format": str(FORMAT), "saved": json.dumps(saved)})


def read_saved(path: Path) -> dict[str, Any]:
    """The values that were saved with a state, before anything is restored; raises ResumeError if it is damaged."""
    with _opened(path) as file:
        saved: dict[str, Any] = json.loads(file.metadata()["saved"])
    return saved


def load_state(path: Path, objects: Stateful) -> None:
    """Restore `objects` and the random streams from `path`.

    Raises:
        ResumeError: the file is damaged or does not fit these objects.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    try:
        objects.encoder.load_state_dict(_under("encoder", tensors))
        objects.method.load_state_dict(_under("method", tensors))
        _load_optimizer(objects.optimizer, _under("optimizer", tensors))
        if objects.average is not None:
            objects.average.load_state_dict(_under("average", tensors))
    except (RuntimeError, KeyError, ValueError) as error:
        raise ResumeError(f"{path}: does not fit this run ({error}); delete its folder to start anew") from error
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("format") != str(FORMAT):
                raise ResumeError(f"{path}: not a training state of format {FORMAT}; delete its folder to start anew")
            yield file
    except (SafetensorError, OSError) as error:
        raise ResumeError(f"{path}: damaged ({error}); delete its folder to start anew") from error


def _tensors(objects: Stateful) -> dict[str, Tensor]:
    tensors = {f"encoder.{name}": tensor for name, tensor in objects.encoder.state_dict().items()}
    tensors |= {f"method.{name}": tensor for name, tensor in objects.method.state_dict().items()}
    if objects.average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in objects.average.state_dict().items()}
    for number, state in objects.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    return {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
