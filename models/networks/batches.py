"""Rows as padded tensors, and the choice of rows for each batch."""

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
    """Indices of each batch of an epoch: in random order, but rows of like length together, so that little is padded.

    This is a pure function of its arguments. Every index is in exactly one batch; only one batch may be short.
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
    """The chosen examples as `collate` gives them, but with targets of 0 and no right answers read."""
    chosen = [examples[index].encoded.rows for index in indices]
    numbers = torch.tensor(list(indices), device=device)
    return replace(
        batch_rows([row for rows in chosen for row in rows], pad_id, device, width),
        targets=torch.zeros_like(numbers),
        indices=numbers,
        choices=tuple(map(len, chosen)) if HEAD_TRAINING[head].compares_rows else None,
    )


def batch_rows(rows: Sequence[Row], pad_id: int, device: torch.device, width: int | None = None) -> Batch:
    """Rows to be measured, each as an example of its own; its target and index are 0 and mean nothing."""
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
    """A function that computes the logits of rows with eager torch in float32, without dropout.

    Rows are computed in batches of like length. Where the head guesses hidden tokens, each row itself decides which of
    its tokens are hidden, and its result is (hidden, 2): the right token's log-probability, and 1 where that token is
    the most probable one.
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
