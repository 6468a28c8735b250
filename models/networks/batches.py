"""Rows as padded tensors, and which rows go together."""

import random
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from models.data import Example
from models.evaluation import RowRunner, by_length
from models.networks.encoder import Batch, Encoder
from models.networks.heads import HEAD_TRAINING
from models.networks.masking import MaskedRow, Masking
from models.tasks.task import Head, Logits
from models.text import Row, pad


def plan_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of each batch of an epoch: shuffled, then rows alike in length together so that little is padding.

    A pure function of its arguments. Every index is in exactly one batch; only one batch may be short.
    """
    draw = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    draw.shuffle(order)
    neighbourhood = 50 * batch_size
    batches: list[list[int]] = []
    for start in range(0, len(order), neighbourhood):
        near = sorted(order[start : start + neighbourhood], key=lambda index: lengths[index])
        batches.extend(near[first : first + batch_size] for first in range(0, len(near), batch_size))
    draw.shuffle(batches)
    return batches


def collate(
    examples: Sequence[Example],
    indices: Sequence[int],
    head: Head,
    pad_id: int,
    device: torch.device,
    width: int | None = None,
) -> Batch:
    """The chosen examples as one batch for this head, padded to the longest row, or to `width`."""
    batch = collate_unlabelled(examples, indices, head, pad_id, device, width)
    targets = HEAD_TRAINING[head].batch_targets([examples[index] for index in indices], batch.ids.shape[1])
    return replace(batch, targets=targets.to(device))


def collate_unlabelled(
    examples: Sequence[Example],
    indices: Sequence[int],
    head: Head,
    pad_id: int,
    device: torch.device,
    width: int | None = None,
) -> Batch:
    """As `collate`, without looking at right answers: targets are 0 and mean nothing."""
    chosen = [examples[index].encoded.rows for index in indices]
    numbers = torch.tensor(list(indices), device=device)
    return replace(
        batch_rows([row for rows in chosen for row in rows], pad_id, device, width),
        targets=torch.zeros_like(numbers),
        indices=numbers,
        choices=tuple(map(len, chosen)) if HEAD_TRAINING[head].compares_rows else None,
    )


def batch_rows(rows: Sequence[Row], pad_id: int, device: torch.device, width: int | None = None) -> Batch:
    """Rows that are not learnt from, each on its own."""
    arrays = {name: torch.from_numpy(array).to(device) for name, array in pad(rows, pad_id, width).items()}
    nothing = torch.zeros(len(rows), dtype=torch.long, device=device)
    return Batch(
        ids=arrays["input_ids"],
        type_ids=arrays["token_type_ids"],
        mask=arrays["attention_mask"].bool(),
        targets=nothing,
        indices=nothing,
    )


def torch_runner(encoder: Encoder, head: Head, tokenizer: PreTrainedTokenizerFast, batch_size: int = 64) -> RowRunner:
    """Logits of rows by eager torch in float32, dropout off, in batches of like length.

    Of a head that guesses hidden tokens: which these are, a row itself decides, and all that is given of a row is
    (hidden, 2), the right token's log-probability and 1 where it is the most probable one.
    """
    masking = Masking.of(tokenizer) if HEAD_TRAINING[head].masks else None

    @torch.inference_mode()
    def run_batch(rows: Sequence[Row]) -> list[Logits]:
        device = next(encoder.parameters()).device
        logits = encoder(batch_rows(rows, int(tokenizer.pad_token_id), device)).logits.float()
        return [_of_row(one, row).cpu().numpy() for one, row in zip(logits, rows, strict=True)]

    def run(rows: Sequence[Row]) -> list[Logits]:
        was_training = encoder.training
        encoder.eval()
        try:
            shown = rows if masking is None else [masking.hide_always(row) for row in rows]
            return by_length(shown, run_batch, batch_size)
        finally:
            encoder.train(was_training)

    return run


def _of_row(logits: Tensor, row: Row) -> Tensor:
    if not isinstance(row, MaskedRow):
        return logits[: len(row)] if logits.ndim > 1 else logits
    guessed = torch.log_softmax(logits[list(row.hidden)], dim=-1)  # (hidden, vocabulary)
    right = torch.tensor(list(row.hidden.values()), dtype=torch.long, device=logits.device)
    chances = guessed.gather(-1, right[:, None]).squeeze(-1)
    return torch.stack([chances, (guessed.argmax(-1) == right).float()], dim=-1)
