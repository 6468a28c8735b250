"""Correlates a package's attention with the gradients of its answers, computed by the checkpoint it was made from."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from export.package import WEIGHTS_FILE, Package, file_digest
from models.errors import UserError
from models.tasks.task import READ_AT_TOKENS, Head, Item
from models.text import BadInput, Row

if TYPE_CHECKING:
    from models.measuring.attention_gradients import AttentionGradients

HEADS: tuple[Head, ...] = ("sequence-classification", "multiple-choice")
"""Heads whose one answer is read at one place, from which attention is taken."""

_OTHERS: dict[Head, str] = {
    **dict.fromkeys(READ_AT_TOKENS, "at tokens of the text"),
    "multi-label-classification": "by any number of labels, each on its own",
}
"""How heads answer whose gradients are not taken."""


class NotItsCheckpoint(UserError):
    """A checkpoint whose gradients say nothing of the package."""


def check_checkpoint(package: Package, checkpoint: Path) -> None:
    """Refuse a checkpoint that the package was not made from, or a package that gives more than one answer of a row.

    Raises:
        NotItsCheckpoint: with what to do.
    """
    if package.task.head not in HEADS:
        raise NotItsCheckpoint(
            f"{package.manifest.name} answers {package.task.name} {_OTHERS[package.task.head]}; gradients are taken of "
            "one answer against the others, read at one place: leave --checkpoint out"
        )
    weights = checkpoint / WEIGHTS_FILE
    if not weights.is_file() or file_digest(weights) != package.manifest.weights:
        raise NotItsCheckpoint(f"{checkpoint} is not the checkpoint that {package.folder} was made from; name that one")


def measure_gradients(package: Package, checkpoint: Path, items: Sequence[Item]) -> "AttentionGradients":
    """Correlate attention with gradients over the tokens of these items; needs torch.

    Raises:
        NothingToCompare: no item has enough tokens.
        CheckpointError: the checkpoint cannot be read.
    """
    # Here, not at the top: everything else is measured without torch.
    from models.measuring.attention_gradients import correlate_attention_with_gradients
    from models.networks.loading import load_served

    reader = package.reader()
    rows: list[Row] = []
    for item in items:
        # As everywhere in measurements, an item that cannot be read is left out.
        with suppress(BadInput):
            rows += package.task.encode(item, reader, "right").rows
    return correlate_attention_with_gradients(load_served(checkpoint, package.task.head), rows, package.manifest.pad_id)
