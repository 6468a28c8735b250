"""AFA's discriminator (our reading): it tells a text with masked words from the same text read a second time."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8
"""Adam's usual constants (Kingma and Ba, ICLR 2015, algorithm 1)."""


@dataclass(frozen=True, kw_only=True)
class Readings:
    """Three readings of the same texts, each by the vector that the head reads last; detached."""

    plain: Float[Tensor, "texts width"]
    masked: Float[Tensor, "texts width"]
    """The texts with words masked."""
    repeated: Float[Tensor, "texts width"]
    """The plain texts with other dropout; how these differ from `plain` is of no significance."""


class Discriminator(nn.Module):
    """Two linear maps, 2 x width -> width -> 1 with a GELU between, and an Adam optimiser of their own.

    Adam's state is in buffers, so it is saved and restored with the weights. The training loop trains none of this: no
    loss of the encoder moves these weights, and their loss does not move the encoder.
    """

    first_moment: Tensor
    second_moment: Tensor
    updates: Tensor

    def __init__(self, width: int, learning_rate: float, generator: torch.Generator) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        # Created without values, since a linear layer would draw them from plain training's generator.
        self.hidden: nn.Linear = nn.utils.skip_init(nn.Linear, 2 * width, width)  # type: ignore[no-untyped-call]
        self.output: nn.Linear = nn.utils.skip_init(nn.Linear, width, 1)  # type: ignore[no-untyped-call]
        for linear in (self.hidden, self.output):
            bound = linear.in_features**-0.5  # as torch fills linear layers
            for parameter in linear.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
        size = sum(parameter.numel() for parameter in self.parameters())
        self.register_buffer("first_moment", torch.zeros(size))
        self.register_buffer("second_moment", torch.zeros(size))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def forward(
        self, first: Float[Tensor, "texts width"], second: Float[Tensor, "texts width"]
    ) -> Float[Tensor, " texts"]:
        """Log odds that words were masked in one of the two; never computed in half precision."""
        with torch.autocast(first.device.type, enabled=False):
            first, second = (state.to(self.hidden.weight.dtype) for state in (first, second))
            pair = torch.cat([(first - second).abs(), first * second], dim=-1)
            odds: Tensor = self.output(nn.functional.gelu(self.hidden(pair))).squeeze(-1)
            return odds

    def loss(self, seen: Readings) -> Float[Tensor, ""]:
        """-mean log sigmoid(masked pairs) - mean log(1 - sigmoid(repeated pairs))."""
        loss, _ = self._judge(seen)
        return loss

    def learn(self, seen: Readings) -> tuple[float, float]:
        """Update once; the loss from before, and the share of masked and repeated pairs that were told apart."""
        parameters = list(self.parameters())
        loss, accuracy = self._judge(seen)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            step = self._adam(torch.cat([gradient.flatten() for gradient in gradients]))
            sizes = [parameter.numel() for parameter in parameters]
            for parameter, part in zip(parameters, torch.split(step, sizes), strict=True):
                parameter.sub_(part.view_as(parameter))
        return float(loss.detach()), accuracy

    @torch.no_grad()
    def confusion(self, seen: Readings) -> Float[Tensor, " texts"]:
        """Probability of the wrong answer for each masked pair: 1 if the mask was not noticed at all."""
        return torch.sigmoid(-self(seen.plain, seen.masked))

    def _judge(self, seen: Readings) -> tuple[Tensor, float]:
        masked, repeated = self(seen.plain, seen.masked), self(seen.plain, seen.repeated)
        loss = nn.functional.softplus(-masked).mean() + nn.functional.softplus(repeated).mean()
        return loss, float(torch.cat([masked > 0, repeated < 0]).float().mean())

    def _adam(self, gradient: Float[Tensor, " size"]) -> Float[Tensor, " size"]:
        self.updates += 1
        self.first_moment.lerp_(gradient, 1 - FIRST_DECAY)
        self.second_moment.lerp_(gradient**2, 1 - SECOND_DECAY)
        updates = self.updates.double()  # 1 - 0.999 would lose digits in float32
        first = self.first_moment / (1 - FIRST_DECAY**updates)
        second = self.second_moment / (1 - SECOND_DECAY**updates)
        return self.learning_rate * first / (second.sqrt() + EPSILON)
