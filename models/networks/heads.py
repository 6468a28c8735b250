"""Training of each head: its loss, and its targets as tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from models.data import Example
from models.networks.masking import MaskedRow
from models.tasks.task import Head
from models.tasks.token_positions import find_tokens, first_tokens

IGNORED = -100
"""Target of unlabelled tokens: special tokens, padding, and all tokens of a word but its first."""

TaskLoss = Callable[[Float[Tensor, "batch ..."], Shaped[Tensor, "batch ..."]], Float[Tensor, ""]]
"""Logits and targets -> the task's own loss, a mean over the labelled rows or tokens."""


@dataclass(frozen=True)
class HeadTraining:
    """The loss of one head, and the form of its targets."""

    loss: TaskLoss
    losses: Callable[[Float[Tensor, "batch ..."], Shaped[Tensor, "batch ..."]], Float[Tensor, " batch"]]
    """Logits and targets -> the loss of each example, to compare versions of one example."""
    batch_targets: Callable[[Sequence[Example], int], Tensor]
    """Examples and the length of their batch's longest row -> targets for the loss."""
    compares_rows: bool = False
    """True if an example has a row for each choice, and its target is one of these rows."""
    masks: bool = False
    """True if tokens are hidden from the model, which must guess them."""


def label_or_number_loss(logits: Float[Tensor, "batch labels"], targets: Shaped[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Cross entropy where targets are labels, the mean squared error where they are numbers."""
    if targets.is_floating_point():
        return nn.functional.mse_loss(logits.squeeze(-1).float(), targets)
    return nn.functional.cross_entropy(logits.float(), targets)


def labels_loss(logits: Float[Tensor, "batch labels"], targets: Float[Tensor, "batch labels"]) -> Float[Tensor, ""]:
    """Binary cross entropy of labels that do not exclude each other, a mean over all labels of all rows."""
    return nn.functional.binary_cross_entropy_with_logits(logits.float(), targets)


def as_choices(logits: Float[Tensor, "batch labels"]) -> Float[Tensor, "batch labels 2"]:
    """Each label that excludes no other as a choice of its own, between not having it and having it.

    The softmax over the last axis is the label's sigmoid, so divergences between choices are those of the labels.
    """
    return torch.stack([torch.zeros_like(logits), logits], dim=-1)


def token_loss(logits: Float[Tensor, "batch seq labels"], targets: Shaped[Tensor, "batch seq"]) -> Float[Tensor, ""]:
    """Cross entropy, a mean over the labelled tokens of all rows; 0 if none is labelled."""
    summed = nn.functional.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return summed / (targets != IGNORED).sum().clamp(min=1)


def span_loss(logits: Float[Tensor, "batch seq 2"], targets: Shaped[Tensor, "batch 2"]) -> Float[Tensor, ""]:
    """Cross entropy of a span's first and last token among all positions of the row, the mean of both."""
    return nn.functional.cross_entropy(logits.float(), targets)


def _losses_of_answers(
    logits: Float[Tensor, "batch labels"], targets: Shaped[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    if targets.is_floating_point():
        return (logits.squeeze(-1).float() - targets).square()
    return nn.functional.cross_entropy(logits.float(), targets, reduction="none")


def _losses_of_labels(
    logits: Float[Tensor, "batch labels"], targets: Float[Tensor, "batch labels"]
) -> Float[Tensor, " batch"]:
    losses = nn.functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return losses.mean(1)


def _losses_of_tokens(
    logits: Float[Tensor, "batch seq labels"], targets: Shaped[Tensor, "batch seq"]
) -> Float[Tensor, " batch"]:
    losses = nn.functional.cross_entropy(
        logits.float().transpose(1, 2), targets, ignore_index=IGNORED, reduction="none"
    )
    return losses.sum(1) / (targets != IGNORED).sum(1).clamp(min=1)


def _losses_of_spans(
    logits: Float[Tensor, "batch seq 2"], targets: Shaped[Tensor, "batch 2"]
) -> Float[Tensor, " batch"]:
    return nn.functional.cross_entropy(logits.float(), targets, reduction="none").mean(1)


def _one_each(examples: Sequence[Example], width: int) -> Tensor:
    del width
    return torch.tensor([example.target for example in examples])


def _one_each_token(examples: Sequence[Example], width: int) -> Tensor:
    targets = torch.full((len(examples), width), IGNORED)
    for number, example in enumerate(examples):
        # Texts are cut to one row in training.
        for word, (_, position) in first_tokens(example.encoded).items():
            targets[number, position] = example.target[word]
    return targets


def _one_span_each(examples: Sequence[Example], width: int) -> Tensor:
    del width
    return torch.tensor([find_tokens(example.encoded.rows[0], example.target.span) for example in examples])


def _hidden_tokens(examples: Sequence[Example], width: int) -> Tensor:
    targets = torch.full((len(examples), width), IGNORED)
    for number, example in enumerate(examples):
        # Texts are cut to one row in training.
        (row,) = example.encoded.rows
        assert isinstance(row, MaskedRow), "examples of a head that masks are read through MaskedExamples"
        for position, token in row.hidden.items():
            targets[number, position] = token
    return targets


HEAD_TRAINING: dict[Head, HeadTraining] = {
    "sequence-classification": HeadTraining(label_or_number_loss, _losses_of_answers, _one_each),
    "multi-label-classification": HeadTraining(labels_loss, _losses_of_labels, _one_each),
    "token-classification": HeadTraining(token_loss, _losses_of_tokens, _one_each_token),
    "multiple-choice": HeadTraining(label_or_number_loss, _losses_of_answers, _one_each, compares_rows=True),
    "question-answering": HeadTraining(span_loss, _losses_of_spans, _one_span_each),
    "masked-language-model": HeadTraining(token_loss, _losses_of_tokens, _hidden_tokens, masks=True),
}
