"""DistilBERT: BERT's layers under other names, without segments and without a pooler."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from models.networks.families.family import Family


def _layers(base: Any) -> Sequence[nn.Module]:
    return list(base.transformer.layer)


DISTILBERT = Family(layers=_layers)
