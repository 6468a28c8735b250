"""ALBERT: a few layers, often a single one, that are called again and again; narrow embeddings with a projection."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from models.networks.families.family import Family


def _layers(base: Any) -> Sequence[nn.Module]:
    """The layers call by call, as `AlbertTransformer.forward` chooses them."""
    count, groups = base.config.num_hidden_layers, base.config.num_hidden_groups
    return [
        layer
        for number in range(count)
        for layer in base.encoder.albert_layer_groups[int(number / (count / groups))].albert_layers
    ]


ALBERT = Family(layers=_layers, entrance=lambda base: (base.encoder, "embedding_hidden_mapping_in"))
