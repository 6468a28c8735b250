"""The form in which families of encoders are described: where their layers are, and what enters the first one."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Place = tuple[nn.Module, str]
"""A module by its owner and its name there."""


def _bert_layers(base: Any) -> Sequence[nn.Module]:
    return list(base.encoder.layer)


def _norm_of_embeddings(base: Any) -> nn.Module | None:
    norm: nn.Module = base.embeddings.LayerNorm
    return norm


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family of encoders; the defaults are BERT's. `base` is a model of transformers without its head.

    Nothing here says how a family attends: a layer of any family computes a single softmax, and `networks.hooks` adds
    biases to its argument.
    """

    layers: Callable[[Any], Sequence[nn.Module]] = _bert_layers
    """The layers in the order in which they are called. A layer that is called several times stands there as often."""
    entrance: Callable[[Any], Place] = lambda base: (base, "embeddings")
    """The module whose output enters the first layer."""
    embedding_norm: Callable[[Any], nn.Module | None] = _norm_of_embeddings
    """The LayerNorm of the embeddings; None where they have none."""
    skipped: Callable[[Tensor], tuple[Any, ...]] = lambda state: (state,)
    """The output of a layer that leaves the state as it is, where no attention was asked for."""
    gates: Callable[[Any], Collection[nn.Module]] = lambda _: ()
    """The activations whose results multiply other states of their layer, as in a gated linear unit."""
    positions_taken: Callable[[Any], int] = lambda _: 0
    """Rows of the table of positions that no token can have, by the configuration."""
    pools_mean: Callable[[Any], bool] = lambda _: False
    """Whether a head that answers for a row reads the mean of all tokens instead of the first, by the configuration."""
    refuses: Callable[[Any], str | None] = lambda _: None
    """The part of a configuration that is not supported, to stand after "a base model with"; None where all is."""
    self_attends: bool = True
    """True if tokens attend to each other; otherwise one row of attention weighs the mean of their states."""
    like_bert: bool = False
    """True if the modules of a layer have the names and the calls of BERT's."""
