"""Stock transformers checkpoints as others publish them: labels in any order, and a head that gives each of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

from models.networks.hooks import last_linear
from models.networks.loading import AUTO_CLASSES
from models.tasks.task import Head
from tests.tiny import make_base, make_texts

TEXTS = [text for text, _ in make_texts(40, seed=7)]
PAIRS = list(zip(TEXTS, reversed(TEXTS), strict=True))


def make_foreign(
    folder: Path,
    head: Head,
    labels: Sequence[str] | None,
    count: int | None = None,
    *,
    seed: int = 0,
    reads_pairs: bool = False,
    positions: int = 64,
    **config: Any,
) -> Path:
    """A checkpoint with a head of `labels`, or of `count` without names; over `TEXTS` or `PAIRS` it gives them all."""
    base = make_base(folder.parent / f"{folder.name}.base", dropout=0.0, seed=seed, positions=positions)
    names = list(labels) if labels is not None else [f"LABEL_{number}" for number in range(count or 2)]
    given = AutoConfig.from_pretrained(
        base,
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
        **config,
    )
    torch.manual_seed(seed)
    model = AUTO_CLASSES[head].from_config(given)
    body = AutoModelForMaskedLM.from_pretrained(base).base_model
    model.base_model.load_state_dict(body.state_dict(), strict=False)
    tokenizer = AutoTokenizer.from_pretrained(base)
    _spread(model.eval(), tokenizer, PAIRS if reads_pairs else TEXTS)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _spread(model: Any, tokenizer: Any, texts: Sequence[Any]) -> None:
    """Set the head's last linear map so that the labels share the plane in which its inputs differ most."""
    linear: nn.Linear = last_linear(model)
    seen: list[torch.Tensor] = []
    handle = linear.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    encoded = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        model(**({name: one[:, None] for name, one in encoded.items()} if _chooses(model) else encoded))
        handle.remove()
        states = torch.cat([one.flatten(0, -2) for one in seen])
        _, sizes, axes = torch.linalg.svd(states - states.mean(0), full_matrices=False)
        scaled = axes[:2] * (3 * len(states) ** 0.5 / sizes[:2, None])
        angles = torch.arange(linear.out_features) * 2 * torch.pi / linear.out_features + 0.5
        linear.weight.copy_(torch.stack([angles.cos(), angles.sin()], dim=1) @ scaled)
        linear.bias.copy_(-linear.weight @ states.mean(0))


def _chooses(model: Any) -> bool:
    return type(model).__name__.endswith("ForMultipleChoice")
