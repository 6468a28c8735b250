"""The families of encoders that can be trained and exported, by transformers' name for them.

A new one is a small module here, or an entry alone where a family of the table has its layers, and a row of the table
in docs/encoders.md; the tests try each entry.
"""

from typing import Any

from models.errors import UserError
from models.networks.bilstm import BilstmConfig
from models.networks.families.albert import ALBERT
from models.networks.families.bert import BERT, ELECTRA, ROBERTA
from models.networks.families.deberta import DEBERTA_V2
from models.networks.families.distilbert import DISTILBERT
from models.networks.families.family import Family
from models.networks.families.modernbert import MODERNBERT
from models.networks.families.mpnet import MPNET

FAMILIES: dict[str, Family] = {
    "bert": BERT,
    "distilbert": DISTILBERT,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "electra": ELECTRA,
    "mpnet": MPNET,
    "albert": ALBERT,
    "deberta-v2": DEBERTA_V2,
    "modernbert": MODERNBERT,
    BilstmConfig.model_type: Family(embedding_norm=lambda _: None, self_attends=False),
}


class EncoderError(UserError):
    """A base model that cannot be used."""


def find_family(config: Any) -> Family:
    """The family of a model with this configuration.

    Raises:
        EncoderError: it is of no family that can be trained, or has something that is not supported.
    """
    name = config.model_type
    if name not in FAMILIES:
        raise EncoderError(
            f"a base model of family {name!r}; those that can be trained and exported are {', '.join(FAMILIES)}: "
            "choose a base of one of them"
        )
    found = FAMILIES[name]
    if refused := found.refuses(config):
        raise EncoderError(f"a base model of family {name!r} with {refused}, which is not supported: choose another")
    return found


def reads_segments(config: Any) -> bool:
    """True if a model of this configuration takes `token_type_ids`."""
    return int(getattr(config, "type_vocab_size", 0)) > 1


def norm_eps(config: Any) -> float:
    """The epsilon of a model's LayerNorms; DistilBERT's configuration has none."""
    return float(getattr(config, "layer_norm_eps", getattr(config, "norm_eps", 1e-12)))
