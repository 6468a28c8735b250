"""BERT, and the families whose layers are BERT's: RoBERTa, XLM-RoBERTa and ELECTRA."""

from typing import Any

from models.networks.families.family import Family, Place

BERT = Family(like_bert=True)


def _after_padding(config: Any) -> int:
    return int(config.pad_token_id) + 1


ROBERTA = Family(like_bert=True, positions_taken=_after_padding)
"""RoBERTa and XLM-RoBERTa: positions begin after the padding token's id."""


def _electra_entrance(base: Any) -> Place:
    return base, "embeddings_project" if hasattr(base, "embeddings_project") else "embeddings"


ELECTRA = Family(like_bert=True, entrance=_electra_entrance)
"""Embeddings may be narrower than the layers, with a projection between."""
