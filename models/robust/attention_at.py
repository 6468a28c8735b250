"""Attention AT and Attention iAT (Kitada and Iyatomi, IEEE Access 2021, arXiv 2009.12064), and their random control.

Noise of a set length is added to attention scores before the softmax, in the direction that raises the loss most to
first order. The model learns from the clean loss and from the loss under noise: L + lambda L_adv. The numbers follow
the step of the authors' program (`shunk031/attention-meets-perturbation`): one L2 norm for each softmax, one step from
zero, the right labels in both passes, and noise that passes no gradient. Departures:

- L counts once; the program descends 2 L + lambda L_adv, since it leaves its first gradients in place.
- The guard against tiny norms is relative, so that noise is not shortened where gradients are small.
- Attention iAT is computed as `models.robust.perturbation.emphasise` says, since neither source defines it fully.
- `models.robust.perturbation.choose_site` says which of a transformer's scores stand for the article's one attention.
  Both passes share the layers below the first layer with noise, dropout included; from there on dropout is drawn anew.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from models.networks.encoder import Batch, Pass
from models.robust.method import BuildContext, Method, StepContext, StepResult, WeightedLoss
from models.robust.perturbation import (
    NoiseSettings,
    Site,
    Variant,
    choose_site,
    draw_noise,
    emphasise,
    mean_entropy,
    scale,
    stand_out,
)
from models.robust.reference.arrays import NamedArrays
from models.robust.reference.readout import read_readout


class IatSettings(NoiseSettings):
    """Settings of the noise, and the form of Attention iAT."""

    variant: Variant = Field(
        default="weighted",
        description="weighted: more noise where a score stands out. code: as the authors' program, the opposite of "
        "attention-at. literal, sign: the article's formula, which gives attention-at or its signs.",
    )


Direct = Callable[[Float[Tensor, "layers rows heads query key"], Pass, Batch], Tensor]
"""The gradient with respect to the scores, the clean pass and its batch -> noise."""


class AttentionAt(Method):
    """Takes a clean pass, then runs the layers with noise, and those above them, again under the most harmful noise."""

    def __init__(self, settings: NoiseSettings, site: Site, direct: Direct | None) -> None:
        """`direct` turns the gradient into noise; without it, noise is random."""
        super().__init__()
        self.settings = settings
        self.site = site
        self._direct = direct

    def step(self, batch: Batch, context: StepContext) -> StepResult:
        """L + lambda L_adv; `attention_entropy` is that of the clean attention, as a share of the highest possible."""
        if self.settings.weight == 0:
            clean = context.encoder(batch)
            return StepResult(losses={"task": WeightedLoss(context.task_loss(clean.logits, batch.targets))})
        start = self.site.zeros(batch).requires_grad_(self._direct is not None)
        clean = context.encoder(batch, score_bias=self.site.bias(start), keep=self.site.layers)
        task = context.task_loss(clean.logits, batch.targets)
        noise = self._find_noise(start, task, clean, batch, context)
        with context.extra_pass():
            perturbed = self.site.rerun(context.encoder, batch, clean, noise)
        harmed = context.task_loss(perturbed.logits, batch.targets)
        return StepResult(
            losses={"task": WeightedLoss(task), "adversarial": WeightedLoss(harmed, self.settings.weight)},
            scalars={"attention_entropy": mean_entropy(self.site.scores(clean), self.site.real(batch))},
        )

    def _find_noise(self, start: Tensor, task: Tensor, clean: Pass, batch: Batch, context: StepContext) -> Tensor:
        if self._direct is None:
            drawn = draw_noise(self.site, batch, f"{context.seed}/{context.step}")
            return scale(drawn, self.site.length(self.settings.epsilon), self.site.axes)
        (gradient,) = context.gradients(task, [start])
        return self._direct(gradient, clean, batch)


def build(settings: NoiseSettings, context: BuildContext) -> AttentionAt:
    """Attention AT: noise along the gradient."""
    site = choose_site(settings, context.encoder, context.head)
    length = site.length(settings.epsilon)
    return AttentionAt(settings, site, lambda gradient, _, batch: scale(gradient * site.real(batch), length, site.axes))


def build_iat(settings: IatSettings, context: BuildContext) -> AttentionAt:
    """Attention iAT: noise along the gradient, more of it where scores stand out."""
    site = choose_site(settings, context.encoder, context.head)
    # Under `sign` every entry moves by epsilon, whatever the scope of the length is otherwise.
    length = settings.epsilon if settings.variant == "sign" else site.length(settings.epsilon)

    def direct(gradient: Tensor, clean: Pass, batch: Batch) -> Tensor:
        return emphasise(gradient, site.scores(clean), site.real(batch), settings.variant, length, site.axes)

    return AttentionAt(settings, site, direct)


def build_rp(settings: NoiseSettings, context: BuildContext) -> AttentionAt:
    """Attention RP, the control: noise of the same length in a random direction."""
    return AttentionAt(settings, choose_site(settings, context.encoder, context.head), None)


def reference(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray | float]:
    """The formulas at given arrays, in float64, for texts with one row of attention each.

    Always needed are `u` (batch, seq; attention scores), `m` (batch, seq; 1 on real tokens), `g` (batch, seq; the
    loss's gradient with respect to `u`) and `eps`. They give `w` (batch, seq), and the noise `r_at`, `r_weighted`,
    `r_literal`, `r_sign` and `r_code` (batch, seq); with `n` (batch, seq; normal draws) too, `r_rp`.

    With `H` (batch, seq, width), `w_o` (width), `b_o` and `y` (batch; 0 or 1), the results also hold the loss `L` of
    the article's model for single texts, and the loss under each noise, `L_adv_at`, `L_adv_weighted` and so on. `P` is
    the weight of positive examples, 1 unless given. `g` may then be left out: it is computed from L and given back.

    Raises:
        WrongArray: an array is missing, unknown or misshapen.
    """
    arrays = NamedArrays(inputs)
    scores, real = arrays.floats("u", "batch seq"), arrays.flags("m", "batch seq")
    epsilon = arrays.number("eps")
    loss = _read_loss(arrays, real) if arrays.has("H", "w_o", "b_o", "y", "P") else None
    results: dict[str, Tensor] = {}
    if loss is None or arrays.has("g"):
        gradient = arrays.floats("g", "batch seq")
    else:
        leaf = scores.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(leaf), leaf)
        results["g"] = gradient
    noise = {"at": scale(gradient * real, epsilon, (-1,))}
    variants: tuple[Variant, ...] = ("weighted", "literal", "sign", "code")
    noise |= {variant: emphasise(gradient, scores, real, variant, epsilon, (-1,)) for variant in variants}
    if arrays.has("n"):
        noise["rp"] = scale(arrays.floats("n", "batch seq") * real, epsilon, (-1,))
    arrays.finish()
    results["w"] = stand_out(scores, real)
    results |= {f"r_{name}": moved for name, moved in noise.items()}
    if loss is not None:
        results["L"] = loss(scores)
        results |= {f"L_adv_{name}": loss(scores + moved) for name, moved in noise.items()}
    return {name: tensor.numpy() for name, tensor in results.items()}


def _read_loss(arrays: NamedArrays, real: Bool[Tensor, "batch seq"]) -> Callable[[Tensor], Tensor]:
    """A function of scores: the mean cross entropy over examples, in which positive ones weigh `P`."""
    readout, targets = read_readout(arrays), arrays.flags("y", "batch").double()
    weights = targets * arrays.number("P", 1.0) + (1 - targets)
    cross_entropy = nn.functional.binary_cross_entropy_with_logits
    return lambda scores: cross_entropy(readout.logits(scores, real), targets, weights)
