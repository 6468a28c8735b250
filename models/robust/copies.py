"""Copies of texts as a model reads them, with a label for each token that says whether its word was replaced."""

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
from models.text import Encoded, Row
from models.tokenizer import without_padding

Form = Literal["article", "code"]
"""The source of labels and losses: the article, or the code released for it."""


@dataclass(frozen=True)
class Copies:
    """Copies of a batch's texts: the synonymous ones in the first half of the rows, the opposite ones in the second."""

    batch: Batch
    labels: Int[Tensor, "rows seq"]
    """A label for each token. In the article's form it is 1 where the token's word was replaced, else 0. In the code's
    form only candidates are labelled: 0 if kept, 1 if replaced, 2 if replaced in the opposite copy. Special tokens,
    padding and unlabelled tokens have `IGNORED`."""
    is_changed: Bool[Tensor, " rows"]
    """True if the row has a replaced word."""


class CopyReader:
    """Turns copies into rows with a label for each token.

    A token is labelled by the number of its piece, which every tokenizer keeps. Offsets would not do: they count bytes
    in some tokenizers and are shifted by a space in others.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, max_tokens: int, form: Form) -> None:
        self._tokenizer = without_padding(tokenizer.backend_tokenizer)
        self._tokenizer.enable_truncation(max_tokens)
        # A text that spells out "[SEP]" is ordinary text.
        self._tokenizer.encode_special_tokens = True
        self._pad_id = int(tokenizer.pad_token_id)
        self._form = form

    def read(
        self, synonymous: Sequence[Sequence[Copy]], opposite: Sequence[Sequence[Copy]], device: torch.device
    ) -> Copies:
        """One row for each example: of one copy, or of two where its row has two texts. Long texts are cut off."""
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
    """The texts of an example, as far as its row holds them."""
    row = encoded.rows[0]  # Texts are cut to one row in training.
    return [text[: row.spans(field)[-1][1].end] for field, text in encoded.texts.items()]
