"""Copies of texts as a model reads them, with a label for each token: was its word replaced?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from models.networks.batches import batch_rows
from models.networks.encoder import Batch
from models.networks.heads import IGNORED
from models.synonyms.triples import Copy, Piece
from models.text import Encoded, Row, without_padding

Form = Literal["article", "code"]
"""Whose labels and losses: the article's, or those of the code released for it."""


@dataclass(frozen=True)
class Copies:
    """Copies of a batch's texts: the synonymous ones in the first half of the rows, the opposite ones in the second."""

    batch: Batch
    labels: Int[Tensor, "rows seq"]
    """Of each token: article: 1 where its word was replaced, else 0; code: of candidates alone, 2 where replaced by an
    opposite. `IGNORED` on special tokens and padding."""
    is_changed: Bool[Tensor, " rows"]
    """Whether a replaced word stands in the row."""


class CopyReader:
    """Turns copies into rows with a label for each token.

    Labels go by the number of a token's piece, which tokenizers keep, never by offsets: these are bytes in some and
    shifted by a space in others.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, max_tokens: int, form: Form) -> None:
        self._tokenizer = without_padding(tokenizer.backend_tokenizer)
        self._tokenizer.enable_truncation(max_tokens)
        # A text that spells out "[SEP]" is text.
        self._tokenizer.encode_special_tokens = True
        self._pad_id = int(tokenizer.pad_token_id)
        self._form = form

    def read(
        self, synonymous: Sequence[Sequence[Copy]], opposite: Sequence[Sequence[Copy]], device: torch.device
    ) -> Copies:
        """One or two copies an example, as its row has one or two texts; what is too long is cut off."""
        read = [self._read_row(copies, 1) for copies in synonymous]
        read += [self._read_row(copies, 1 if self._form == "article" else 2) for copies in opposite]
        batch = batch_rows([row for row, _ in read], self._pad_id, device)
        labels = torch.full(batch.ids.shape, IGNORED)
        for number, (_, row_labels) in enumerate(read):
            labels[number, : len(row_labels)] = torch.tensor(row_labels)
        return Copies(batch=batch, labels=labels.to(device), is_changed=(labels > 0).any(1).to(device))

    def _read_row(self, copies: Sequence[Copy], replaced: int) -> tuple[Row, list[int]]:
        texts = [[piece.text for piece in copy] for copy in copies]
        encoding = self._tokenizer.encode(*texts, is_pretokenized=True)
        places = zip(encoding.sequence_ids, encoding.word_ids, strict=True)
        labels = [
            IGNORED if text is None or number is None else self._label(copies[text][number], replaced)
            for text, number in places
        ]
        return Row(encoding, ()), labels

    def _label(self, piece: Piece, replaced: int) -> int:
        if piece.is_replaced:
            return replaced
        return 0 if self._form == "article" or piece.is_candidate else IGNORED


def texts_in_row(encoded: Encoded) -> list[str]:
    """The texts of an example as far as its row has them."""
    row = encoded.rows[0]  # texts are cut to one row in training
    return [text[: row.spans(field)[-1][1].end] for field, text in encoded.texts.items()]
