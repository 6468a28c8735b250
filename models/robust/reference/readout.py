"""The model for single texts that the attention methods were published with, from its BiLSTM's states on.

Its scores are free variables here: methods are checked at given scores and states (arXiv 2009.12064, section 3.1).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from models.robust.reference.arrays import NamedArrays


@dataclass(frozen=True, kw_only=True)
class Readout:
    """Attention over states and a linear map to one logit."""

    states: Float[Tensor, "batch seq width"]
    weight: Float[Tensor, " width"]
    bias: float

    def logits(self, scores: Float[Tensor, "batch seq"], real: Bool[Tensor, "batch seq"]) -> Float[Tensor, " batch"]:
        """z = w_o . sum_t a_t H_t + b_o, with a the softmax of the scores over real tokens."""
        attention = scores.masked_fill(~real, -torch.inf).softmax(-1)
        return (attention[:, :, None] * self.states).sum(1) @ self.weight + self.bias


def read_readout(arrays: NamedArrays) -> Readout:
    """The readout given by the arrays `H` (batch, seq, width), `w_o` (width) and `b_o`.

    Raises:
        WrongArray: an array is missing or misshapen.
    """
    return Readout(
        states=arrays.floats("H", "batch seq width"),
        weight=arrays.floats("w_o", "width"),
        bias=arrays.number("b_o"),
    )
