"""Noise beside any training method: the losses of a noisy copy of each text, and of worst-case noise on its words.

A step has the method's own losses, and

    L(copy) + c D(text, copy) + L(moved) + c D(text, moved)

where L is the task's loss, D is `models.networks.alignment.disagreement`, *copy* is a version of the text with noise in
its words, and *moved* is the text with each word vector moved by a set length along its own gradient. The copy is the
one with the highest loss of several (compare Jones et al., ACL 2020, on adversarial training over edits). Moving each
vector by the same length differs from Miyato et al. (ICLR 2017), who share one length among a text's vectors.

The gradient is read off the backward pass of the text, which a step takes anyway, so moving words costs one more pass
and no other. So it is the gradient of everything that depends on the text's pass: the task's loss, the method's own,
and the agreement with the copy. And D(text, moved) passes no gradient to the text's side, whose graph is gone by then.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.networks.alignment import Places, disagreement
from models.networks.encoder import Batch, Encoder
from models.networks.heads import HEAD_TRAINING
from models.networks.hooks import evaluating, watched_call
from models.robust.method import Method, StepContext, StepResult, WeightedLoss
from models.robust.perturbation import scale
from models.tasks.task import Head

COPY_PASS, MOVED_PASS = 6, 7
"""Numbers of the passes over copies and over moved words; methods use smaller ones."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a batch's examples, and where each of them holds its answers."""

    batch: Batch
    places: Places


@dataclass(frozen=True, kw_only=True)
class NoiseStrength:
    """How much noise training adds beside a method."""

    word_noise: float
    """Length by which each word vector is moved; with 0 there is no such pass."""
    consistency: float
    """Weight of the disagreement between a text and its noisy versions."""


def noisy_losses(
    method: Method,
    context: StepContext,
    head: Head,
    strength: NoiseStrength,
    text: Version,
    copies: Sequence[Version],
) -> Iterator[StepResult]:
    """The losses of one step in parts. The gradient of each must be taken before the next is asked for.

    All copies have one width. Without copies, and with words that are not moved, this is the method's step alone.
    """
    batch, encoder = text.batch, context.encoder
    start = _no_noise(batch, encoder) if strength.word_noise > 0 else None
    with watched_call(encoder, start) as passes:
        result = method.step(batch, context)
    clean = passes[0].logits if result.logits is None else result.logits
    answering = method.served(encoder)
    if copies:
        with context.extra_pass(COPY_PASS):
            copy = _worst(copies, answering, head)
            logits = answering(copy.batch).logits
        loss = context.task_loss(logits, copy.batch.targets)
        apart = disagreement(clean, logits, head, (text.places, copy.places))
        extra = {"copy": WeightedLoss(loss), "copy_apart": WeightedLoss(apart, strength.consistency)}
        result = replace(result, losses={**result.losses, **extra})
    yield result
    if start is None:
        return
    assert start.grad is not None, "the gradient of the first part was to be taken"
    noise = scale(start.grad * batch.mask[:, :, None], strength.word_noise, (-1,))
    with context.extra_pass(MOVED_PASS):
        logits = answering(batch, word_noise=noise).logits
    loss = context.task_loss(logits, batch.targets)
    apart = disagreement(clean.detach(), logits, head, (text.places, text.places))
    yield StepResult({"moved": WeightedLoss(loss), "moved_apart": WeightedLoss(apart, strength.consistency)})


def _no_noise(batch: Batch, encoder: Encoder) -> Tensor:
    vectors = encoder.word_vectors
    return vectors.new_zeros(*batch.ids.shape, vectors.shape[1]).requires_grad_()


def _worst(copies: Sequence[Version], encoder: Encoder, head: Head) -> Version:
    """Take the copy with the highest loss of each example, without dropout; the first where several are equal."""
    if len(copies) == 1:
        return copies[0]
    losses_of = HEAD_TRAINING[head].losses
    with evaluating(encoder), torch.no_grad():
        losses = torch.stack([losses_of(encoder(copy.batch).logits, copy.batch.targets) for copy in copies])
    worst = losses.argmax(0)  # (B,)
    first = copies[0].batch
    choices = first.choices
    of_rows = worst if choices is None else worst.repeat_interleave(torch.tensor(choices, device=worst.device))

    def pick(versions: Sequence[Tensor], number: Tensor) -> Tensor:
        return torch.stack(list(versions))[number, torch.arange(len(number), device=number.device)]

    batch = replace(
        first,
        ids=pick([copy.batch.ids for copy in copies], of_rows),
        type_ids=pick([copy.batch.type_ids for copy in copies], of_rows),
        mask=pick([copy.batch.mask for copy in copies], of_rows),
        targets=pick([copy.batch.targets for copy in copies], worst),
    )
    return Version(batch=batch, places=pick([copy.places for copy in copies], worst))
