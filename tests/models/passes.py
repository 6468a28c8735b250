"""Encoders, batches and contexts for tests of what happens inside a step."""

from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PretrainedConfig,
)

from models.networks.bilstm import BilstmConfig
from models.networks.encoder import Batch, Encoder
from models.networks.families import FAMILIES as KNOWN
from models.networks.heads import HEAD_TRAINING
from models.robust.method import BuildContext, StepContext, StepResult
from models.tasks.task import Head
from tests.tiny import make_tokenizer


def make_config(
    family: str = "bert", *, dropout: float = 0.0, labels: int = 3, **sizes: int | float | str
) -> PretrainedConfig:
    """Three layers with two heads, 16 wide, with 40 positions, unless `sizes` says other; its heads read the start."""
    config = AutoConfig.for_model(family)
    wanted = {
        "vocab_size": 50,
        "hidden_size": 16,
        "embedding_size": 8,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 40,
        "initializer_range": 0.3,
        "num_labels": labels,
        "pad_token_id": 0,
        **{name: dropout for name in DROPOUTS if hasattr(config, name)},
        **FURTHER.get(family, {}),
        **sizes,
    }
    # Some families know a size by another name.
    return AutoConfig.for_model(family, **{config.attribute_map.get(name, name): size for name, size in wanted.items()})


FAMILIES = [name for name in KNOWN if name != BilstmConfig.model_type]
"""Every family whose tokens attend to each other."""

DROPOUTS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob",
    "dropout", "attention_dropout", "seq_classif_dropout", "qa_dropout",
    "embedding_dropout", "mlp_dropout", "classifier_dropout",
)  # fmt: skip
"""The names that some family has for a dropout."""

FURTHER: dict[str, dict[str, Any]] = {
    "distilbert": {"hidden_dim": 32},
    "albert": {"num_hidden_groups": 1},
    # As in DeBERTa-v3.
    "deberta-v2": {
        "relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "type_vocab_size": 0, "embedding_size": 16,
    },
    # The second layer sees two tokens to each side.
    "modernbert": {
        "local_attention": 4, "global_attn_every_n_layers": 2, "classifier_pooling": "cls", "decoder_bias": True,
        "bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2,
    },
}  # fmt: skip


def make_encoder(family: str = "bert", *, dropout: float = 0.0, labels: int = 3) -> Encoder:
    torch.manual_seed(5)
    config = make_config(family, dropout=dropout, labels=labels)
    return Encoder(AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")).train()


def make_batch(lengths: tuple[int, ...] = (7, 4, 1), *, padding: int = 0, labels: int = 3) -> Batch:
    """Random rows of these lengths, with `padding` columns more than the longest needs."""
    generator = torch.Generator().manual_seed(3)
    widest = max(lengths)
    ids = torch.randint(1, 50, (len(lengths), widest), generator=generator)
    mask: Bool[Tensor, "batch seq"] = torch.arange(widest)[None, :] < torch.tensor(lengths)[:, None]
    ids = torch.nn.functional.pad(ids * mask, (0, padding))
    mask = torch.nn.functional.pad(mask, (0, padding), value=False)
    targets = torch.arange(len(lengths)) % labels
    return Batch(ids=ids, type_ids=torch.zeros_like(ids), mask=mask, targets=targets, indices=torch.arange(len(ids)))


def make_context(encoder: Encoder, *, step: int = 0) -> StepContext:
    return StepContext(encoder=encoder, task_loss=HEAD_TRAINING["sequence-classification"].loss, seed=1, step=step)


def make_build_context(
    encoder: Encoder, *, head: Head = "sequence-classification", seed: int = 11, examples: int = 10
) -> BuildContext:
    """The context in which a method is built, with the tokenizer of the tiny base."""
    return BuildContext(
        encoder=encoder,
        head=head,
        tokenizer=make_tokenizer(),
        seed=seed,
        example_count=examples,
        max_tokens=32,
        epochs=6,
        score_range=None,
    )


def take_row(batch: Batch, number: int) -> Batch:
    """One example of one row, padded as it was."""
    fields: dict[str, Any] = {
        name: value[number : number + 1] for name, value in vars(batch).items() if isinstance(value, Tensor)
    }
    return Batch(**fields)


def total(result: StepResult) -> Tensor:
    """The loss that the loop would descend."""
    return torch.stack([loss.weight * loss.value for loss in result.losses.values()]).sum()


def gradients(encoder: Encoder, loss: Tensor) -> list[Tensor]:
    """The gradient of every parameter, 0 where the loss does not depend on it."""
    return list(torch.autograd.grad(loss, list(encoder.parameters()), retain_graph=True, materialize_grads=True))
