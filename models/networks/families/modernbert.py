"""ModernBERT: rotary positions, local attention in most layers, gates, and LayerNorm before what it normalises."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from models.networks.families.family import Family


def _layers(base: Any) -> Sequence[nn.Module]:
    return list(base.layers)


def _norm(base: Any) -> nn.Module:
    norm: nn.Module = base.embeddings.norm
    return norm


def _gates(base: Any) -> Sequence[nn.Module]:
    return [layer.mlp.act for layer in base.layers]


MODERNBERT = Family(
    layers=_layers,
    embedding_norm=_norm,
    gates=_gates,
    pools_mean=lambda config: bool(config.classifier_pooling == "mean"),
)
