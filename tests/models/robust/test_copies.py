"""The labels of copies' tokens, whatever the tokenizer."""

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from models.networks.heads import IGNORED
from models.robust.copies import CopyReader
from models.synonyms.triples import Piece
from models.text import Reader, ReadingLimits
from tests.tiny import make_byte_tokenizer, make_tokenizer

TOKENIZER = make_tokenizer()
CPU = torch.device("cpu")
SYNONYMOUS = (Piece("un", False), Piece(" great", True, True), Piece(" film", True), Piece(", very", False))
OPPOSITE = (Piece("un", False), Piece(" good", True), Piece(" very dull", True, True), Piece(", very", False))
x = IGNORED


def _fast(byte_tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=byte_tokenizer, pad_token="<s>")


@pytest.mark.parametrize(
    ("form", "first", "second"),
    [
        #            [CLS] un great film , very [SEP]     [CLS] un good very dull , very [SEP]
        ("article", [x, 0, 1, 0, 0, 0, x, x], [x, 0, 0, 1, 1, 0, 0, x]),
        ("code", [x, x, 1, 0, x, x, x, x], [x, x, 0, 2, 2, x, x, x]),
    ],
)
def test_tokens_are_labelled_by_their_piece(form: Any, first: list[int], second: list[int]) -> None:
    copies = CopyReader(TOKENIZER, 32, form).read([[SYNONYMOUS]], [[OPPOSITE]], CPU)
    assert copies.labels.tolist() == [first, second]
    assert copies.is_changed.tolist() == [True, True]
    assert copies.batch.mask.sum(1).tolist() == [7, 8]


@pytest.mark.parametrize("prefix_space", [False, True])
def test_labels_are_not_shifted_by_the_space_that_belongs_to_a_token(prefix_space: bool) -> None:
    reader = CopyReader(_fast(make_byte_tokenizer(prefix_space=prefix_space)), 32, "article")
    pieces = (Piece("a b", False), Piece(" ab", True, True), Piece(" b", True))
    labels = reader.read([[pieces]], [[pieces]], CPU).labels[0]
    assert labels[labels == 1].numel() == 1
    assert labels.tolist()[-3:] == [1, 0, x]


def test_with_nothing_replaced_the_row_is_the_texts() -> None:
    pieces = (
        Piece("The", False),
        Piece(" film", True),
        Piece(" isn't  ", False),
        Piece("good", True),
        Piece("!", False),
    )
    text = "".join(piece.text for piece in pieces)
    for tokenizer in (TOKENIZER, _fast(make_byte_tokenizer())):
        read = CopyReader(tokenizer, 40, "article").read([[pieces]], [[pieces]], CPU)
        (row,) = Reader(tokenizer.backend_tokenizer, ReadingLimits(max_tokens=40)).read(text).rows
        assert read.batch.ids[0].tolist() == row.ids
        assert not read.is_changed.any()


def test_of_two_texts_each_has_its_own_labels() -> None:
    copies = CopyReader(TOKENIZER, 32, "code").read([[SYNONYMOUS, OPPOSITE]], [[OPPOSITE, SYNONYMOUS]], CPU)
    assert copies.labels[0].tolist() == [x, x, 1, 0, x, x, x, x, 0, 1, 1, x, x, x]
    assert copies.labels[1].tolist() == [x, x, 0, 2, 2, x, x, x, x, 2, 0, x, x, x]
    assert copies.batch.type_ids[0].tolist() == [0] * 7 + [1] * 7


def test_labels_are_cut_off_with_the_text() -> None:
    copies = CopyReader(TOKENIZER, 4, "article").read([[SYNONYMOUS]], [[OPPOSITE]], CPU)
    assert copies.labels.tolist() == [[x, 0, 1, x], [x, 0, 0, x]]
    assert copies.is_changed.tolist() == [True, False]
