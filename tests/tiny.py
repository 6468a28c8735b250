"""A base encoder and data small enough to train in a test, made here so that nothing is fetched."""

import gzip
import json
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
GOOD = ("good", "great", "lovely", "fine")
BAD = ("bad", "awful", "dull", "poor")
NEUTRAL = ("the", "a", "film", "plot", "was", "is", "and", "very", "story", "it", "un", "##able", "!", ",", ".")


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer of a few words, padded to a fixed length as published ones often are."""
    letters = [letter for one in "abcdefghijklmnopqrstuvwxyz0123456789" for letter in (one, f"##{one}")]
    words = [*SPECIAL, *GOOD, *BAD, *NEUTRAL, *letters]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(words))}
    backend = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = BertNormalizer(lowercase=True)
    backend.pre_tokenizer = BertPreTokenizer()
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    backend.enable_padding(length=32, pad_id=vocabulary["[PAD]"], pad_token="[PAD]")
    backend.enable_truncation(32)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def make_base(folder: Path, *, dropout: float = 0.1, layers: int = 2, seed: int = 0) -> Path:
    """A BERT of random weights with its tokenizer, as a folder for `--base`."""
    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.2,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_texts(count: int, seed: int) -> list[tuple[str, int]]:
    """Texts with a word of their label's somewhere in them."""
    draw = random.Random(seed)
    texts = []
    for _ in range(count):
        label = draw.randrange(2)
        words = draw.choices([word for word in NEUTRAL if not word.startswith("##")], k=draw.randint(1, 12))
        words.insert(draw.randint(0, len(words)), draw.choice((BAD, GOOD)[label]))
        texts.append((" ".join(words), label))
    return texts


def write_sentiment(folder: Path, *, train: int = 96, validation: int = 40) -> Path:
    """A folder for `--data` with parts `train` and `validation`."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate({"train": train, "validation": validation}.items()):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            for text, label in make_texts(count, seed):
                file.write(json.dumps({"text": text, "label": label}) + "\n")
    return folder
