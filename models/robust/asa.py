"""ASA: adversarial self-attention (Wu et al., AAAI 2023, arXiv 2206.12608).

In every layer a small adversary masks attention units in order to change the prediction; the model learns to keep its
prediction. An attention unit is one query's attention to one key. The numbers follow the authors' released code
(`gingasan/adversarialSA`), since the paper's equations were not at hand. This module departs from it only by guards,
named where they are made, that change nothing on ordinary rows. The training loop departs further, for every method
alike: it clips gradients, the adversaries' on their own, where the code clips none; it pads to the longest row of a
batch instead of 128; and it starts from another learning rate.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from models.networks.encoder import Batch, Encoder, EncoderError
from models.networks.heads import as_choices
from models.networks.hooks import ScoreBias
from models.robust.method import (
    BuildContext,
    Method,
    MethodSettings,
    ParameterGroup,
    StepContext,
    StepResult,
    WeightedLoss,
)
from models.robust.reference.arrays import NamedArrays
from models.tasks.task import Head

SLOPE = 10_000.0
"""Masking subtracts this from a score. It is part of the method: it sets the exchange rate between divergence and price
in the adversary's gradient, and it must stay finite or that gradient overflows."""


class AsaSettings(MethodSettings):
    """Settings of the adversaries, and the weights of the losses."""

    tau: float = Field(default=0.5, ge=0, description="Its square is the price of a masked unit; larger is milder.")
    divergence_weight: float = Field(default=1.0, ge=0, description="Weight of the symmetric KL divergence.")
    count_weight: float | None = Field(
        default=None, ge=0, description="Weight of the kept units; None means tau squared."
    )
    real_queries_only: bool = Field(default=False, description="Count only the kept units of real query rows.")
    control: bool = Field(
        default=False,
        description="For comparison: mask nothing, so that only dropout tells the passes apart, as in R-Drop.",
    )

    @model_validator(mode="after")
    def _control_has_no_masks(self) -> "AsaSettings":
        of_masks = [name for name in ("tau", "count_weight", "real_queries_only") if self._is_given(name)]
        if self.control and of_masks:
            raise ValueError(f"the control masks nothing, so {', '.join(of_masks)} would mean nothing; leave it out")
        return self

    def _is_given(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    @property
    def price(self) -> float:
        """Weight of the number of kept units in the loss."""
        return self.tau**2 if self.count_weight is None else self.count_weight

    @property
    def is_off(self) -> bool:
        """True if these settings leave nothing but the plain pass."""
        return self.divergence_weight == 0 and (self.control or self.price == 0)


class MaskScorer(nn.Module):
    """One layer's adversary: a single full-width head that scores every pair of positions.

    It is initialised as any linear layer of the backbone is (normal, standard deviation 0.02, bias 0), not from the
    layer's own query and key.
    """

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        # Created without values, since a linear layer would draw them from plain training's generator.
        self.query: nn.Linear = nn.utils.skip_init(nn.Linear, width, width)  # type: ignore[no-untyped-call]
        self.key: nn.Linear = nn.utils.skip_init(nn.Linear, width, width)  # type: ignore[no-untyped-call]
        for linear in (self.query, self.key):
            nn.init.normal_(linear.weight, std=0.02, generator=generator)
            nn.init.zeros_(linear.bias)

    def forward(
        self, state: Float[Tensor, "batch seq width"], real: Bool[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch seq seq"]:
        """Mask logits `s`, in float32: a unit is kept where s > 0. Padding keys are pushed far below zero."""
        with torch.autocast(state.device.type, enabled=False):
            state = state.detach().float()  # Else the encoder would be trained to raise the divergence.
            scores = self.query(state) @ self.key(state).transpose(1, 2) / math.sqrt(state.shape[-1])
            masked: Tensor = scores - SLOPE * (~real)[:, None, :]
            return masked


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, tensor: Tensor) -> Tensor:
        del ctx
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        del ctx
        return -gradient


def reverse_gradient(tensor: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """The tensor itself; its gradient changes sign on the way back."""
    result: Tensor = _ReverseGradient.apply(tensor)  # type: ignore[no-untyped-call]
    return result


def draw_mask(scores: Float[Tensor, "batch seq seq"]) -> Float[Tensor, "batch seq seq"]:
    """1 where a unit is kept, 0 where it is masked, 0.5 for a score of exactly 0; the gradient is the sigmoid's.

    Nothing is random: the released code adds Gumbel noise and subtracts the same noise.
    """
    soft = torch.sigmoid(scores)
    hard = 0.5 * (scores.sign() + 1.0)
    return hard + (soft - soft.detach())  # This order keeps 0 and 1 exact.


def mask_bias(
    mask: Float[Tensor, "batch seq seq"], real: Bool[Tensor, "batch seq"]
) -> Float[Tensor, "batch 1 seq seq"]:
    """The bias by which the mask acts on attention scores, the same for every head.

    A row whose real keys are all masked is left unmasked and passes no gradient to its mask. The released code lets
    such a row attend to padding; here the ordinary padding bias stays on every pass as well.
    """
    is_empty = ((mask > 0.5) & real[:, None, :]).sum(-1, keepdim=True) == 0
    bias = (1.0 - mask) * -SLOPE
    return bias.masked_fill(is_empty, 0.0).unsqueeze(1)


def symmetric_divergence(clean: Float[Tensor, "batch ..."], perturbed: Float[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """Half of KL both ways between softmaxes over the last axis, divided by the size of the first; no side detached.

    Regression logits (batch, 1) are flattened, as in the released code: the softmax then runs over the batch, and a
    batch of one gives 0. Token logits (batch, seq, labels) are summed over all positions, padding included, and divided
    only by the batch's size.
    """
    if clean.ndim == 2 and clean.shape[1] == 1:
        clean, perturbed = clean.reshape(-1), perturbed.reshape(-1)
    log_p = torch.log_softmax(clean.float(), dim=-1)
    log_q = torch.log_softmax(perturbed.float(), dim=-1)
    # KL(q|p) + KL(p|q) = sum (q - p)(log q - log p)
    return 0.5 * ((log_q.exp() - log_p.exp()) * (log_q - log_p)).sum() / clean.shape[0]


class Asa(Method):
    """Takes a clean and a masked pass, with a price on every masked unit; the control masks nothing."""

    def __init__(self, settings: AsaSettings, encoder: Encoder, seed: int, head: Head) -> None:
        super().__init__()
        self.settings = settings
        self._head = head
        generator = torch.Generator().manual_seed(seed)
        count = 0 if settings.control else len(encoder.layers)
        self.scorers = nn.ModuleList(MaskScorer(encoder.width, generator) for _ in range(count))

    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """The adversaries, with the encoder's learning rate and schedule, clipped apart; the control has none."""
        if not self.scorers:
            return ()
        return (ParameterGroup(name="adversary", parameters=tuple(self.parameters())),)

    def step(self, batch: Batch, context: StepContext) -> StepResult:
        """Task loss + divergence + price x kept units; the control counts no units.

        Descending this sum moves the adversaries *up* on divergence + price x kept units, since their masks reverse the
        gradient. The encoder learns from the task loss (clean pass) and the divergence (both passes).
        """
        clean = context.encoder(batch)
        losses = {"task": WeightedLoss(context.task_loss(clean.logits, batch.targets))}
        if self.settings.is_off:
            return StepResult(losses=losses)
        kept: list[Tensor] = []
        with context.extra_pass():
            masked = context.encoder(
                batch,
                score_bias={layer: self._bias(scorer, kept.append) for layer, scorer in enumerate(self.scorers)},
            )
        losses["divergence"] = WeightedLoss(
            symmetric_divergence(*map(self._answers, (clean.logits, masked.logits))), self.settings.divergence_weight
        )
        if self.settings.control:
            return StepResult(losses=losses)
        units = torch.stack(kept).sum()
        losses["kept_units"] = WeightedLoss(units, self.settings.price)
        queries = batch.mask.sum(1) if self.settings.real_queries_only else batch.ids.shape[1]
        possible = len(kept) * (queries * batch.mask.sum(1)).sum() / batch.ids.shape[0]
        return StepResult(losses=losses, scalars={"kept_share": float(units.detach() / possible)})

    def _answers(self, logits: Float[Tensor, "batch ..."]) -> Float[Tensor, "answers ..."]:
        """The logits of what excludes each other; labels that do not are as many answers of a text."""
        return as_choices(logits).flatten(0, 1) if self._head == "multi-label-classification" else logits

    def _bias(self, scorer: nn.Module, count: Callable[[Tensor], None]) -> ScoreBias:
        def bias(
            state: Float[Tensor, "batch seq width"], real: Bool[Tensor, "batch seq"]
        ) -> Float[Tensor, "batch 1 seq seq"]:
            mask = reverse_gradient(draw_mask(scorer(state, real)))
            # Padded query rows count too, as in the released code, unless the settings say otherwise.
            counted = mask * real[:, :, None] if self.settings.real_queries_only else mask
            count(counted.sum() / mask.shape[0])
            return mask_bias(mask, real)

        return bias


def build(settings: AsaSettings, context: BuildContext) -> Asa:
    """ASA with adversaries for this encoder, drawn from a generator of their own.

    Raises:
        EncoderError: the encoder's tokens do not attend to each other, so there are no units to mask.
    """
    if not context.encoder.self_attends:
        raise EncoderError(
            "method asa masks what each token sees of each other; a BiLSTM has one row of attention for a whole text: "
            "choose another method, or another base"
        )
    return Asa(settings, context.encoder, context.seed, context.head)


def reference(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray | float]:
    """The formulas at given arrays, in float32 as in training.

    Always needed are `states` (layers, batch, seq, width), `real` (batch, seq; 1 on real tokens), `query_weight` and
    `key_weight` (layers, width, width; outputs first), `query_bias` and `key_bias` (layers, width). They give `scores`
    s, `mask` m, `bias` on the attention scores (all layers, batch, seq, seq) and `kept_units` N.

    With `attention_scores` (layers, batch, heads, seq, seq; before padding and mask) and `attention_gradient` of that
    shape, which is g = dKL/dA, the results also hold `attention` A under the mask, `mask_gradient` dKL/dm, and
    `score_gradient`, the gradient of KL + tau^2 N at the adversary's scores, through the reversal. `tau` is 0.5 unless
    given.

    With `clean_logits` and `adversarial_logits` (batch, ...) they hold `divergence` KLsym; with `task_loss` too,
    `total`.

    Raises:
        WrongArray: an array is missing, unknown or misshapen.
    """
    arrays = NamedArrays(inputs)
    price = AsaSettings(tau=arrays.number("tau", AsaSettings().tau)).price
    states, real = arrays.floats("states", "layers batch seq width"), arrays.flags("real", "batch seq")
    scorers = _read_scorers(arrays, states.shape[-1])
    scores = torch.stack([scorer(state, real) for scorer, state in zip(scorers, states, strict=True)])
    scores = scores.detach().requires_grad_()
    mask = torch.stack([draw_mask(layer) for layer in scores])
    bias = torch.stack([mask_bias(layer, real) for layer in map(reverse_gradient, mask)])
    units = reverse_gradient(mask).sum() / states.shape[1]
    results = {"scores": scores, "mask": mask, "bias": bias[:, :, 0], "kept_units": units}
    if arrays.has("attention_scores", "attention_gradient"):
        axes = "layers batch heads seq seq"
        attention = arrays.floats("attention_scores", axes).float() + bias - SLOPE * (~real)[:, None, None, :]
        results["attention"] = attention.softmax(-1)
        harm = (results["attention"] * arrays.floats("attention_gradient", axes)).sum()
        (reversed_gradient,) = torch.autograd.grad(harm, mask, retain_graph=True)
        results["mask_gradient"] = -reversed_gradient
        (results["score_gradient"],) = torch.autograd.grad(harm + price * units, scores)
    if arrays.has("clean_logits", "adversarial_logits", "task_loss"):
        clean, other = (arrays.floats(name, "batch ...") for name in ("clean_logits", "adversarial_logits"))
        results["divergence"] = symmetric_divergence(clean, other)
        if arrays.has("task_loss"):
            results["total"] = arrays.number("task_loss") + results["divergence"] + price * units
    arrays.finish()
    return {name: tensor.detach().numpy() for name, tensor in results.items()}


def _read_scorers(arrays: NamedArrays, width: int) -> list[MaskScorer]:
    read = {
        f"{part}.{kind}": arrays.floats(f"{part}_{kind}", axes)
        for part in ("query", "key")
        for kind, axes in (("weight", "layers width width"), ("bias", "layers width"))
    }
    scorers = [MaskScorer(width, torch.Generator()) for _ in read["query.bias"]]
    for number, scorer in enumerate(scorers):
        scorer.load_state_dict({name: weights[number] for name, weights in read.items()})
    return scorers
