"""DeBERTa of versions 2 and 3: attention to contents and to distances, in BERT's module names."""

from typing import Any

from models.networks.families.family import Family


def _refuses(config: Any) -> str | None:
    if getattr(config, "conv_kernel_size", 0) > 0:
        return "a convolution over its tokens, as DeBERTa-v2-xlarge has"
    return None


DEBERTA_V2 = Family(skipped=lambda state: (state, None), refuses=_refuses)
