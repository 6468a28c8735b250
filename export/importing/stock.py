"""Makes the checkpoint of an import: a stock transformers model whose head has its labels as the task names them."""

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.checkpoint import ImportRecord, Licences
from models.networks.encoder import Encoder, EncoderError
from models.networks.hooks import last_linear
from models.networks.loading import (
    ONE_FILE,
    PROBLEM_TYPES,
    check_tokenizer,
    check_trained_head,
    load_config,
    load_stock,
    load_tokenizer,
    name_labels,
)
from models.progress import Say
from models.tasks.labels.matching import LabelError, MatchedHead, match_labels
from models.tasks.task import NO_OUTPUTS, AnyTask, Outputs
from models.tasks.text_classification import MULTI_LABEL_CLASSIFICATION, TEXT_CLASSIFICATION

MOST_TOKENS = 512
"""Longest row where nobody asks for another, and the model and its tokenizer take as many."""

USUAL_THRESHOLD = NO_OUTPUTS.label_threshold

READINGS = {
    TEXT_CLASSIFICATION.name: "one label of a text",
    MULTI_LABEL_CLASSIFICATION.name: "any number of labels of a text",
}
"""The answer that a head of the same labels gives, by the task as which it is read."""

READ_WITH = ("torch", "transformers", "tokenizers")


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """The choices by which a checkpoint is imported."""

    base: str
    """Folder, or id on a hub."""
    task: AnyTask
    labels: tuple[str, ...] | None = None
    """Names for the labels, in the order of the head; those that the checkpoint gives, where there are none here."""
    score_range: tuple[float, float] | None = None
    """Lowest and highest number that the head gives, for a task that answers with a number."""
    label_threshold: float = USUAL_THRESHOLD
    """From this probability on, a text has a label; for a task that gives any number of labels."""
    max_tokens: int | None = None
    licences: Licences


def write_stock(settings: ImportSettings, folder: Path, say: Say = lambda _: None) -> ImportRecord:
    """Write the model and its tokenizer to `folder`, with the head's rows in the order of the labels.

    `say` is told as what the head is read where the checkpoint does not tell whether its labels exclude each other.

    Raises:
        EncoderError: the model cannot be read, or its tokenizer does not belong to it.
        LabelError: the labels do not say what the head's numbers mean.
    """
    base, task = settings.base, settings.task
    config, tokenizer = load_config(base), load_tokenizer(base)
    check_trained_head(base, config, task.head)
    check_tokenizer(tokenizer, config, base)
    found = tuple(str(config.id2label[number]) for number in sorted(config.id2label))
    head = match_labels(task, found, settings.labels, base=base)
    outputs = Outputs(head.labels, settings.score_range, label_threshold=settings.label_threshold)
    try:
        task.check_outputs(outputs)
    except ValueError as error:
        raise LabelError(f"{base}: {error}") from error
    model = load_stock(base, task.head)
    _check_meaning(config, base, task)
    _tell_reading(config, base, task, say)
    _order(model, head, base)
    model.config.update({**name_labels(head.labels), "problem_type": PROBLEM_TYPES.get(task.head)})
    model.save_pretrained(folder, max_shard_size=ONE_FILE)
    tokenizer.save_pretrained(folder)
    return ImportRecord(
        task=task.name,
        outputs=outputs,
        head=found,
        named=settings.labels,
        # The path of a folder on this machine would tell the reader of a card nothing.
        base=Path(base).absolute().name if Path(base).is_dir() else base,
        max_tokens=_most_tokens(settings, model, tokenizer),
        licences=settings.licences,
        versions={name: importlib.metadata.version(name) for name in READ_WITH},
    )


def _check_meaning(config: Any, base: str, task: AnyTask) -> None:
    """Refuse a head whose numbers are neither logits of the task's kind of labels, nor the score itself."""
    gives_several = task.head == "multi-label-classification"
    if config.num_labels == 1:
        _check_activation(config, base)
    elif config.problem_type == "multi_label_classification" and not gives_several:
        raise EncoderError(
            f"{base}: its labels do not exclude each other (multi_label_classification), and {task.name} gives one "
            f"label of a text; choose --task {MULTI_LABEL_CLASSIFICATION.name}, or a checkpoint that was trained to "
            "choose one"
        )
    elif config.problem_type == "single_label_classification" and gives_several:
        raise EncoderError(
            f"{base}: its labels exclude each other (single_label_classification), and {task.name} judges each on its "
            "own; choose the task that it was trained for, such as text-classification"
        )
    elif config.problem_type == "regression":
        raise EncoderError(
            f"{base}: its head gives {config.num_labels} numbers that are no labels (regression), and a package gives "
            "one label or one score of a text; choose another checkpoint, or train it with `steadfast train --base`"
        )


def _tell_reading(config: Any, base: str, task: AnyTask, say: Say) -> None:
    """Say as what a head is read where another task would read it otherwise and the checkpoint does not tell."""
    if config.problem_type is None and task.name in READINGS:
        (other,) = READINGS.keys() - {task.name}
        say(
            f"{base} names no problem_type, and is read as giving {READINGS[task.name]}; "
            f"--task {other} reads it as giving {READINGS[other]}"
        )


def _check_activation(config: Any, base: str) -> None:
    """Refuse a score that passes through a function that the stock model does not have."""
    given = getattr(config, "sentence_transformers", None) or {}
    judged = "Sigmoid" if config.problem_type == "multi_label_classification" else "Identity"
    named = str(given.get("activation_fn") or getattr(config, "sbert_ce_default_activation_function", None) or judged)
    if not named.endswith("Identity"):
        raise EncoderError(
            f"{base}: its score passes through {named.rsplit('.', 1)[-1]}, and a package gives the model's own number; "
            "train its last layer without that, and import it then"
        )


def _order(model: Any, head: MatchedHead, base: str) -> None:
    """Put the rows of the head's last linear map in the order of the labels, in place."""
    linear = last_linear(model)
    rows = list(head.rows)
    if linear.out_features != len(rows):
        raise LabelError(f"{base}: its head gives {linear.out_features} numbers, and the task has {len(rows)}")
    with torch.no_grad():
        linear.weight.copy_(linear.weight[rows].clone())
        if linear.bias is not None:
            linear.bias.copy_(linear.bias[rows].clone())


def _most_tokens(settings: ImportSettings, model: Any, tokenizer: Any) -> int:
    room = min(Encoder(model).max_tokens, int(tokenizer.model_max_length))
    if settings.max_tokens is None:
        return min(room, MOST_TOKENS)
    if settings.max_tokens > room:
        raise EncoderError(f"--max-tokens {settings.max_tokens}: {settings.base} reads at most {room} tokens")
    return settings.max_tokens
