"""Keeps what the head of a base knows of a task's labels, matched by their names in whatever order they stand.

transformers keeps a head whose sizes fit, even if its rows mean other labels.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from models.checkpoint import HeadRecord
from models.networks.encoder import Encoder
from models.networks.hooks import last_linear
from models.networks.loading import AUTO_CLASSES, load_config, load_weights
from models.tasks.labels.matching import has_named_labels, match_rows
from models.tasks.task import ONE_VECTOR, AnyTask, Head
from models.training.settings import BILSTM

LABELLING: tuple[Head, ...] = (*ONE_VECTOR, "token-classification")


def keep_known_labels(encoder: Encoder, base: str, task: AnyTask, labels: tuple[str, ...]) -> HeadRecord | None:
    """Give the rows of the encoder's head to the labels that they belong to in the base's, and draw the others anew.

    Nothing is done, and the result is None, where the task has no labels to name or the base has no head with labels.
    New rows are drawn from torch's generator, in which each family draws as usual.

    Raises:
        EncoderError: the base has weights that do not fit its own configuration.
    """
    config = load_config(base)
    architectures = config.architectures or ()
    if not has_named_labels(task) or not any(_has_head(name, head) for name in architectures for head in LABELLING):
        return None
    model, listed = load_weights(base, task.head)
    old, new = last_linear(model), last_linear(encoder.model)
    if f"{_name_of(old, model)}.weight" in listed["missing_keys"]:
        return None
    answers_alike = any(_has_head(name, task.head) for name in architectures)
    found = [str(config.id2label[number]) for number in sorted(config.id2label)] if answers_alike else []
    rows = match_rows(task, labels, found)
    if len(rows) < len(labels) and old.out_features == new.out_features:
        _copy_map(last_linear(AUTO_CLASSES[task.head].from_config(encoder.model.config)), new)
    _copy_map(old, new, rows)
    return HeadRecord(
        kept={labels[number]: found[row] for number, row in rows.items()},
        drawn=tuple(label for number, label in enumerate(labels) if number not in rows),
    )


def has_head(base: str, encoder: Encoder, head: Head) -> bool:
    """Whether a base has a trained head of this kind, as wide as the encoder's; a new BiLSTM has none.

    Raises:
        EncoderError: the base has no configuration that can be read.
    """
    if base == BILSTM:
        return False
    config = load_config(base)
    names = config.architectures or ()
    return any(_has_head(name, head) for name in names) and config.num_labels == encoder.model.config.num_labels


def _has_head(architecture: str, head: Head) -> bool:
    return architecture.endswith(AUTO_CLASSES[head].__name__.removeprefix("AutoModel"))


def _name_of(wanted: nn.Module, model: Any) -> str:
    modules: Iterator[tuple[str, nn.Module]] = model.named_modules()
    return next(name for name, module in modules if module is wanted)


def _copy_map(source: nn.Linear, into: nn.Linear, rows: dict[int, int] | None = None) -> None:
    """Copy all rows, or those named, each with its place in `into` and its place in `source`."""
    chosen = {row: row for row in range(into.out_features)} if rows is None else rows
    with torch.no_grad():
        for ours, theirs in ((into.weight, source.weight), (into.bias, source.bias)):
            if ours is not None and theirs is not None:
                ours[list(chosen)] = theirs[list(chosen.values())]
