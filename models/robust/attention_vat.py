"""Attention VAT and Attention iVAT (Kitada and Iyatomi, arXiv 2104.08763): attention noise that needs no labels.

Noise of a set length on attention scores moves the prediction as far as it can. The model learns to keep its
prediction, on labelled and unlabelled text alike: L + lambda KL(p || p under noise). No program was published, and the
article's equations were not at hand. So this is virtual adversarial training (Miyato et al., arXiv 1704.03976, section
3) of attention scores, with these choices:

- The direction is found by one power iteration from a random start of length `xi`: at 0 the divergence has no gradient.
- p and both passes under noise use the same dropout, drawn anew from the first layer with noise on. Otherwise their
  divergence would mostly be that of two dropout masks, and its gradient would say little about the noise.
- Where tokens are labelled, the divergence is a mean over real tokens, labelled or not. For spans it is a mean over the
  first and last token, each among real positions. For numbers it is half the squared difference.
- Each step reads as many unlabelled examples as labelled ones, drawn by the seed, the step and the process's number.
"""

import random
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from models.networks.batches import collate_unlabelled
from models.networks.encoder import NO_CHOICE, Batch, Pass
from models.networks.heads import as_choices
from models.robust.method import BuildContext, Method, StepContext, StepResult, WeightedLoss
from models.robust.perturbation import (
    NoiseSettings,
    choose_site,
    draw_noise,
    emphasise,
    mean_entropy,
    scale,
)
from models.robust.reference.arrays import NamedArrays
from models.robust.reference.readout import read_readout
from models.tasks.task import Head


class VatSettings(NoiseSettings):
    """Settings of the noise, and the start of the search for its direction."""

    xi: float = Field(default=0.1, gt=0, description="Length of the random start, in units of the score.")


class AttentionVat(Method):
    """Takes a clean pass of labelled and of unlabelled rows, then three of the layers from the first with noise on."""

    def __init__(self, settings: VatSettings, context: BuildContext, *, interpretable: bool) -> None:
        """With `interpretable`, scores that stand out are moved more, as in Attention iAT."""
        super().__init__()
        self.settings = settings
        self.site = choose_site(settings, context.encoder, context.head)
        self._head = context.head
        self._pad_id = int(context.tokenizer.pad_token_id)
        self._unlabelled = context.unlabelled
        self._interpretable = interpretable

    def step(self, batch: Batch, context: StepContext) -> StepResult:
        """L + lambda times the mean divergence of all examples, labelled and unlabelled."""
        if self.settings.weight == 0:
            clean = context.encoder(batch)
            return StepResult(losses={"task": WeightedLoss(context.task_loss(clean.logits, batch.targets))})
        clean = context.encoder(batch, keep=self.site.layers)
        task = context.task_loss(clean.logits, batch.targets)
        moved = [self._divergences(batch, clean, context, 0)]
        if self._unlabelled:
            unlabelled = self._draw_unlabelled(batch, context)
            with context.extra_pass(1):
                read = context.encoder(unlabelled, keep=self.site.layers)
            moved.append(self._divergences(unlabelled, read, context, 2))
        return StepResult(
            losses={
                "task": WeightedLoss(task),
                "divergence": WeightedLoss(torch.cat(moved).mean(), self.settings.weight),
            },
            scalars={"attention_entropy": mean_entropy(self.site.scores(clean), self.site.real(batch))},
        )

    def _divergences(self, batch: Batch, clean: Pass, context: StepContext, number: int) -> Float[Tensor, " batch"]:
        def predict(noise: Tensor) -> Tensor:
            with context.extra_pass(number):
                return self.site.rerun(context.encoder, batch, clean, noise).logits

        with torch.no_grad():
            expected = predict(self.site.zeros(batch))
        drawn = draw_noise(self.site, batch, f"{context.seed}/{context.step}/{number}")
        start = scale(drawn, self.site.length(self.settings.xi), self.site.axes).requires_grad_()
        moved = divergence(expected, predict(start), batch, self._head)
        (gradient,) = context.gradients(moved.sum(), [start])
        noise = self._direct(gradient, clean, batch)
        return divergence(expected, predict(noise), batch, self._head)

    def _direct(self, gradient: Tensor, clean: Pass, batch: Batch) -> Tensor:
        real, length = self.site.real(batch), self.site.length(self.settings.epsilon)
        if self._interpretable:
            return emphasise(gradient, self.site.scores(clean), real, "weighted", length, self.site.axes)
        return scale(gradient * real, length, self.site.axes)

    def _draw_unlabelled(self, batch: Batch, context: StepContext) -> Batch:
        examples = self._unlabelled
        draw = random.Random(f"unlabelled/{context.seed}/{context.step}/{context.process}")
        chosen = draw.sample(range(len(examples)), min(len(batch.indices), len(examples)))
        return collate_unlabelled(examples, chosen, self._head, self._pad_id, batch.ids.device)


def divergence(
    expected: Float[Tensor, "batch ..."], found: Float[Tensor, "batch ..."], batch: Batch, head: Head
) -> Float[Tensor, " batch"]:
    """KL(expected || found) for each example, between the head's answers; for numbers, half the squared difference.

    Of labels that do not exclude each other it is the mean over the labels, each a choice of its own.
    """
    if head == "question-answering":
        # (batch, seq, 2): first and last token are each a choice among the row's real positions.
        expected, found = (
            logits.masked_fill(~batch.mask[:, :, None], NO_CHOICE).transpose(1, 2) for logits in (expected, found)
        )
        return _kl(expected, found).mean(-1)
    if head == "token-classification":
        return (_kl(expected, found) * batch.mask).sum(-1) / batch.mask.sum(-1)
    if head == "multi-label-classification":
        return _kl(as_choices(expected), as_choices(found)).mean(-1)
    if expected.shape[-1] == 1:
        return 0.5 * (expected.float() - found.float()).square().squeeze(-1)
    return _kl(expected, found)


def _kl(expected: Float[Tensor, "*rest labels"], found: Float[Tensor, "*rest labels"]) -> Float[Tensor, "*rest"]:
    log_p, log_q = (_at_least_float32(logits).log_softmax(-1) for logits in (expected, found))
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def _at_least_float32(logits: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def build(settings: VatSettings, context: BuildContext) -> AttentionVat:
    """Attention VAT: noise along the divergence's gradient."""
    return AttentionVat(settings, context, interpretable=False)


def build_ivat(settings: VatSettings, context: BuildContext) -> AttentionVat:
    """Attention iVAT: noise along the divergence's gradient, more of it where scores stand out."""
    return AttentionVat(settings, context, interpretable=True)


def reference(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray | float]:
    """The formulas at given arrays, in float64, under the article's model for single texts.

    Needed are `u` (batch, seq; attention scores), `m` (batch, seq; 1 on real tokens), `H` (batch, seq, width), `w_o`
    (width), `b_o`, `n` (batch, seq; normal draws), `eps` and `xi`. They give `p` (batch; probability of label 1), `g`
    (batch, seq; the gradient of the mean KL at xi n/|n|), the noise `r_vat` and `r_ivat` (batch, seq), and the
    divergence under each, `KL_vat` and `KL_ivat`, means over examples.

    Raises:
        WrongArray: an array is missing, unknown or misshapen.
    """
    arrays = NamedArrays(inputs)
    scores, real = arrays.floats("u", "batch seq"), arrays.flags("m", "batch seq")
    readout = read_readout(arrays)
    start = scale(arrays.floats("n", "batch seq") * real, arrays.number("xi"), (-1,)).requires_grad_()
    epsilon = arrays.number("eps")
    arrays.finish()

    def predict(noise: Tensor) -> Tensor:
        logits = readout.logits(scores + noise, real)
        return torch.stack([torch.zeros_like(logits), logits], dim=-1)

    expected = predict(torch.zeros_like(scores))
    (gradient,) = torch.autograd.grad(_kl(expected, predict(start)).mean(), start)
    noise = {
        "vat": scale(gradient * real, epsilon, (-1,)),
        "ivat": emphasise(gradient, scores, real, "weighted", epsilon, (-1,)),
    }
    results = {"p": expected.softmax(-1)[:, 1], "g": gradient}
    for name, moved in noise.items():
        results |= {f"r_{name}": moved, f"KL_{name}": _kl(expected, predict(moved)).mean()}
    return {name: tensor.numpy() for name, tensor in results.items()}
