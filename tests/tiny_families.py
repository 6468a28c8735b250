"""A base of every family small enough to train in a test, each with a tokenizer of the kind that its family has."""

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE, Unigram, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel, Metaspace
from tokenizers.processors import RobertaProcessing, TemplateProcessing
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerFast

from tests.models.passes import make_config
from tests.tiny import BAD, GOOD, NEUTRAL, make_tokenizer

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
WORDS = (*GOOD, *BAD, *(word for word in NEUTRAL if word.isalpha()))
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789!,."

BYTES = ("roberta", "modernbert")
"""Families with tokenizers of bytes: capitals stay, and the space before a word is part of it."""
PIECES = ("xlm-roberta", "albert", "deberta-v2")
"""Families with SentencePiece's Unigram: no token stands for a space alone."""


def make_family_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """A tokenizer of a few words, of the kind that the family's published models have."""
    if family not in (*BYTES, *PIECES, "mpnet"):
        return make_tokenizer()
    backend = _make_bytes() if family in BYTES else _make_pieces() if family in PIECES else _make_words()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        sep_token="</s>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
    )


def make_family_base(folder: Path, family: str, **sizes: int | float | str) -> Path:
    """Two layers of random weights, 32 wide, with their tokenizer, as a folder for `--base`."""
    tokenizer = make_family_tokenizer(family)
    torch.manual_seed(0)
    config = make_config(
        family,
        **{
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "max_position_embeddings": 80,
            "pad_token_id": tokenizer.pad_token_id,
            "initializer_range": 0.2,
            **sizes,
        },
    )
    AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _make_bytes() -> Tokenizer:
    tokens = [*SPECIAL, *sorted(ByteLevel.alphabet())]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = []
    for word in WORDS:
        for end in range(1, len(word) + 1):
            left, right = "Ġ" + word[: end - 1], word[end - 1]
            if left + right not in vocabulary:
                vocabulary[left + right] = len(vocabulary)
                merges.append((left, right))
    tokenizer = Tokenizer(BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    return tokenizer


def _make_pieces() -> Tokenizer:
    pieces = [(token, 0.0) for token in SPECIAL]
    pieces += [("▁" + word, -2.0) for word in WORDS]
    pieces += [("▁", -3.0), *((letter, -5.0) for letter in LETTERS)]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([Metaspace()])
    tokenizer.post_processor = _around("<s> $A </s>", "<s> $A </s> </s> $B </s>")
    return tokenizer


def _make_words() -> Tokenizer:
    tokens = [*SPECIAL, *WORDS, *(token for letter in LETTERS for token in (letter, f"##{letter}"))]
    tokenizer = Tokenizer(
        WordPiece({token: number for number, token in enumerate(dict.fromkeys(tokens))}, unk_token="<unk>")
    )
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = _around("<s> $A </s>", "<s> $A </s> </s> $B </s>")
    return tokenizer


def _around(single: str, pair: str) -> TemplateProcessing:
    return TemplateProcessing(single=single, pair=pair, special_tokens=[("<s>", 0), ("</s>", 2)])
