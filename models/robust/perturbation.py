"""Noise of a set length on attention scores: its place, its direction, and the passes that carry it.

The attention methods of Kitada and Iyatomi (arXiv 2009.12064, 2104.08763) share this module. Their models have one
attention with one row for each text. How the noise is spread over a transformer's many heads and rows is a choice of
this project, described at `choose_site`.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from models.errors import UserError
from models.networks.encoder import Batch, Encoder, Pass
from models.networks.hooks import ScoreBias
from models.robust.method import MethodSettings
from models.tasks.task import ONE_VECTOR, Head

Variant = Literal["weighted", "literal", "sign", "code"]

READ_AT_FIRST: tuple[Head, ...] = (*ONE_VECTOR, "multiple-choice")
"""Heads that read only the first token, so that other rows of the last layer's attention get no gradient; in encoders
whose heads read the mean of all tokens, they do."""


class NoSuchLayer(UserError):
    """A layer that the encoder does not have."""


class NoiseSettings(MethodSettings):
    """Settings of the noise, and the layers that have it."""

    epsilon: float = Field(default=1.0, ge=0, description="Length of the noise, in units of the score.")
    weight: float = Field(default=1.0, ge=0, description="Lambda, the weight of the loss under noise; 0 is plain.")
    layers: tuple[int, ...] | None = Field(
        default=None, min_length=1, description="Layers that get noise, from 0; -1 is the last, which is the default."
    )
    scope: Literal["row", "example"] | None = Field(
        default=None,
        description="row: each row of attention has the length epsilon. example: an example's rows together have "
        "epsilon times the root of the number of heads.",
    )


@dataclass(frozen=True, kw_only=True)
class Site:
    """The attention scores that get noise. Arrays of noise have a query axis of 1 if only first rows get it."""

    layers: tuple[int, ...]
    """Numbers of the layers, ascending."""
    heads: int
    first_row: bool
    by_row: bool
    """True if each row of attention has its own length; else all layers, heads and rows of a batch's row share one."""
    attended: Callable[[Batch], Bool[Tensor, "rows key"]] = field(default=attrgetter("mask"), compare=False)
    """The keys that can be attended to, as `Encoder.attended` gives them."""

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of noise that share one length."""
        return (-1,) if self.by_row else (0, 2, 3, 4)

    def length(self, epsilon: float) -> float:
        """Norm over `axes`; over many rows it is epsilon times the root of the heads, as if each head had epsilon."""
        return epsilon if self.by_row else epsilon * math.sqrt(self.heads)

    def real(self, batch: Batch) -> Bool[Tensor, "rows 1 query key"]:
        """True where the query is not padding and the key can be attended to."""
        queries = batch.mask[:, :1] if self.first_row else batch.mask
        return queries[:, None, :, None] & self.attended(batch)[:, None, None, :]

    def zeros(self, batch: Batch) -> Float[Tensor, "layers rows heads query key"]:
        """Noise of 0 everywhere."""
        rows, seq = batch.ids.shape
        queries = 1 if self.first_row else seq
        return torch.zeros(len(self.layers), rows, self.heads, queries, seq, device=batch.ids.device)

    def scores(self, passed: Pass) -> Float[Tensor, "layers rows heads query key"]:
        """The scores of a pass that kept these layers, in float32, detached; each row lacks a constant.

        They are the logarithms of the probabilities, which is enough for differences within a row. Padding, and a real
        key more than 87 below its row's highest, have the lowest value that float32 can hold.
        """
        queries = 1 if self.first_row else None
        kept = [passed.kept[layer].probabilities[:, :, :queries] for layer in self.layers]
        return torch.stack(kept).detach().float().clamp(min=torch.finfo(torch.float32).tiny).log()

    def bias(self, noise: Float[Tensor, "layers rows heads query key"]) -> dict[int, ScoreBias]:
        """The noise in the form that the encoder takes."""

        def of(layer: Float[Tensor, "rows heads query key"]) -> ScoreBias:
            missing = layer.shape[-1] - layer.shape[-2]
            return lambda *_: nn.functional.pad(layer, (0, 0, 0, missing))

        return {number: of(layer) for number, layer in zip(self.layers, noise, strict=True)}

    def rerun(
        self, encoder: Encoder, batch: Batch, passed: Pass, noise: Float[Tensor, "layers rows heads query key"]
    ) -> Pass:
        """Run the layers from the first with noise again, under noise; they share the state that entered them."""
        first = self.layers[0]
        below = passed.kept[first].entering
        return encoder(batch, start_layer=first, hidden=below, score_bias=self.bias(noise))  # type: ignore[no-any-return]


def choose_site(settings: NoiseSettings, encoder: Encoder, head: Head) -> Site:
    """The scores that get noise: the last layer's first row if the head reads only the first token, else all rows.

    Unless set otherwise, each row has its own length in the first case. In the second, an example's rows share one, so
    that rows with hardly any gradient are not blown up. Each choice of an item counts as an example.

    Raises:
        NoSuchLayer: the encoder lacks one of the layers, or one is named twice.
    """
    count = len(encoder.layers)
    named = (-1,) if settings.layers is None else settings.layers
    layers = tuple(sorted(layer % count for layer in named if -count <= layer < count))
    if len(set(layers)) < len(named):
        raise NoSuchLayer(f"layers {list(named)}: name layers from 0 to {count - 1}, or from -1 back, each once")
    first_row = head in READ_AT_FIRST and encoder.reads_start and layers == (count - 1,)
    by_row = first_row if settings.scope is None else settings.scope == "row"
    return Site(layers=layers, heads=encoder.heads, first_row=first_row, by_row=by_row, attended=encoder.attended)


def scale(direction: Float[Tensor, "*axes"], length: float, axes: tuple[int, ...]) -> Float[Tensor, "*axes"]:
    """`direction` with norm `length` over `axes`, however small it was; it stays 0 only where it is exactly 0."""
    relative = _relative(direction, axes)
    norm = torch.linalg.vector_norm(relative, dim=axes, keepdim=True)
    return length * relative / torch.where(norm > 0, norm, 1)


def stand_out(scores: Float[Tensor, "*rows key"], real: Bool[Tensor, "*#rows key"]) -> Float[Tensor, "*rows key"]:
    """w_t = sum over real keys k of (u_t - u_k)^2, for real t; 0 for other keys and where all scores are equal.

    The closed form is w_t = n ((u_t - mean)^2 + variance), over the n real keys.
    """
    highest = scores.masked_fill(~real, -torch.inf).amax(-1, keepdim=True)
    # Measured from the highest score, so that equal scores are exactly 0.
    shifted = torch.where(real, scores - highest, 0)
    count = real.sum(-1, keepdim=True)
    centred = torch.where(real, shifted - shifted.sum(-1, keepdim=True) / count.clamp(min=1), 0)
    return real * (count * centred**2 + (centred**2).sum(-1, keepdim=True))


def emphasise(
    gradient: Float[Tensor, "*rows key"],
    scores: Float[Tensor, "*rows key"],
    real: Bool[Tensor, "*#rows key"],
    variant: Variant,
    length: float,
    axes: tuple[int, ...],
) -> Float[Tensor, "*rows key"]:
    """The noise of Attention iAT, of `length` over `axes`; `gradient` is that of the loss with respect to the scores.

    The article makes the noise from the differences D[t,k] = u_t - u_k between the scores of a text, with every row
    scaled to length 1. This is exactly Attention AT's noise; the released program computes its opposite. So there are:

    - `weighted`: this project's choice. D has length 1 as a whole, so that its rows keep their relative lengths:
      r ~ g w. It still raises the loss, and tokens whose score stands out are moved more.
    - `literal`: the article's formula, r ~ g |D^[t]|^2 with rows of length 1.
    - `sign`: the article's formula with coefficients scaled to length 1 for each token: every score moves by `length`.
    - `code`: the released program, r = -r_AT, which lowers the loss.

    If all scores are equal, none stands out; then `weighted` and `literal` are Attention AT's noise, and `sign` is 0.
    """
    if variant == "code":
        return -scale(gradient * real, length, axes)
    weights = stand_out(scores, real)
    if variant != "weighted":
        weights = (weights > 0).to(gradient.dtype)
    if variant == "sign":
        return length * gradient.sign() * weights
    emphasised = _relative(gradient, axes) * _relative(weights, axes)
    stands_out = emphasised.abs().amax(axes, keepdim=True) > 0
    return scale(torch.where(stands_out, emphasised, gradient * real), length, axes)


def draw_noise(site: Site, batch: Batch, key: str) -> Float[Tensor, "layers rows heads query key"]:
    """Standard normal noise on real tokens.

    A row's noise depends on `key` and its example's number, neither on padding nor on the rest of the batch.
    """
    noise = site.zeros(batch)
    choices = batch.choices or (1,) * len(batch.indices)
    names = [
        (index, place) for index, many in zip(batch.indices.tolist(), choices, strict=True) for place in range(many)
    ]
    for row, (name, real) in enumerate(zip(names, site.real(batch)[:, 0], strict=True)):
        generator = torch.Generator().manual_seed(random.Random(f"{key}/{name}").getrandbits(63))
        drawn = torch.randn(len(site.layers), site.heads, int(real.sum()), generator=generator)
        noise[:, row][..., real] = drawn.to(noise.device)
    return noise


def mean_entropy(scores: Float[Tensor, "layers rows heads query key"], real: Bool[Tensor, "rows 1 query key"]) -> float:
    """Entropy of attention as a share of the highest possible, a mean over rows with at least two real keys.

    It falls if the scores grow until noise of a set length no longer matters, so it is worth watching.
    """
    probabilities = scores.exp() * real
    entropy = -(probabilities * scores).sum(-1)
    keys = real.sum(-1).expand_as(entropy)
    return float((entropy / keys.clamp(min=2).log())[keys >= 2].mean().nan_to_num())


def _relative(direction: Float[Tensor, "*axes"], axes: tuple[int, ...]) -> Float[Tensor, "*axes"]:
    """`direction` divided by its largest entry, so that no square can underflow."""
    peak = direction.abs().amax(axes, keepdim=True)
    return direction / torch.where(peak > 0, peak, 1)
