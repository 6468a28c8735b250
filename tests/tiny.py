"""A base encoder and data small enough to train in a test, made here so that nothing is fetched."""

import gzip
import json
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel
from tokenizers.processors import RobertaProcessing, TemplateProcessing
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from models.tasks import TASKS
from models.tasks.task import AnyTask, Outputs

WORDNET = Path(__file__).parent / "wordnet"
METHOD_SETTINGS: dict[str, dict[str, Any]] = {"cline": {"wordnet": str(WORDNET)}}
"""Settings that a method must be given in tests."""

_KINDS: dict[object, str] = {}
for _name, _task in TASKS.items():
    _KINDS.setdefault((_task.head, len(_task.columns), _task.outputs.score_range), _name)

KINDS = [*_KINDS.values()]
"""The first task of each kind. Those of one kind have one head, read as many texts, and all or none give a score."""

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
GOOD = ("good", "great", "lovely", "fine")
BAD = ("bad", "awful", "dull", "poor")
NEUTRAL = ("the", "a", "film", "plot", "was", "is", "and", "very", "story", "it", "un", "##able", "!", ",", ".")


def word_piece(tokens: Iterable[str]) -> Tokenizer:
    """A lower-casing tokenizer of the special tokens and these, as BERT's are."""
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*SPECIAL, *tokens]))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return tokenizer


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer of a few words, padded to a fixed length as published ones often are."""
    letters = [letter for one in "abcdefghijklmnopqrstuvwxyz0123456789" for letter in (one, f"##{one}")]
    backend = word_piece([*GOOD, *BAD, *NEUTRAL, *letters])
    backend.enable_padding(length=32, pad_id=backend.token_to_id("[PAD]"), pad_token="[PAD]")
    backend.enable_truncation(32)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def make_byte_tokenizer(*, prefix_space: bool = False) -> Tokenizer:
    """As RoBERTa's: of bytes, a space being part of the word after it; `prefix_space` puts one before the text."""
    tokens = ["<s>", "</s>", *sorted(ByteLevel.alphabet()), "Ġa", "Ġb", "ab", "Ġab"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(BPE(vocabulary, [("Ġ", "a"), ("Ġ", "b"), ("a", "b"), ("Ġa", "b")]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=prefix_space)
    tokenizer.post_processor = RobertaProcessing(
        ("</s>", 1), ("<s>", 0), trim_offsets=True, add_prefix_space=prefix_space
    )
    return tokenizer


def make_base(folder: Path, *, dropout: float = 0.1, layers: int = 2, seed: int = 0, positions: int = 64) -> Path:
    """A BERT of random weights with its tokenizer, as a folder for `--base`."""
    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=positions,
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


def write_examples(folder: Path, task: str, *, train: int = 16, validation: int = 8) -> Path:
    """A folder for `--data` of any task, with parts `train` and `validation`; single words decide what is right."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(task)
    for name, count in {"train": train, "validation": validation}.items():
        rows = (ROWS[task](draw) for _ in range(count))
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def make_items(task: str, count: int) -> list[dict[str, Any]]:
    """Items as callers send them."""
    draw = random.Random(f"{task} items")
    rows = [ROWS[task](draw) for _ in range(count)]
    fields = TASKS[task].columns
    return [{field: " ".join(row["tokens"]) if task == "ner" else row[field] for field in fields} for row in rows]


NAMES = ("al", "bo", "cy")


def _say(draw: random.Random, words: Sequence[str]) -> str:
    return f"{draw.choice(('the film', 'the plot', 'the story'))} was {draw.choice(words)}"


def _sentiment_row(draw: random.Random) -> dict[str, Any]:
    label = draw.randrange(2)
    return {"text": _say(draw, (BAD, GOOD)[label]), "label": label}


TOPICS = {"blame": BAD, "names": NAMES, "praise": GOOD, "small words": ("and", "it", "very")}
"""The labels of a task without its own, each with the words that decide for it."""


def outputs_of(task: AnyTask) -> Outputs:
    """The outputs that the tiny models of a task have."""
    return task.outputs if task.has_own_labels else Outputs(tuple(TOPICS))


def _topic_row(draw: random.Random) -> dict[str, Any]:
    label = draw.choice(list(TOPICS))
    return {"text": _say(draw, TOPICS[label]), "label": label}


def _topics_row(draw: random.Random) -> dict[str, Any]:
    labels = [label for label in TOPICS if draw.random() < 0.4]
    words = [draw.choice(TOPICS[label]) for label in labels] or ["so"]
    return {"text": f"the plot was {' '.join(draw.sample(words, len(words)))}", "labels": sorted(labels)}


def _topic_pair_row(draw: random.Random) -> dict[str, Any]:
    row = _topic_row(draw)
    return {"text_a": _say(draw, GOOD), "text_b": row["text"], "label": row["label"]}


def _nli_row(draw: random.Random) -> dict[str, Any]:
    label = draw.randrange(3)
    return {"premise": _say(draw, GOOD), "hypothesis": _say(draw, (GOOD, NAMES, BAD)[label]), "label": label}


def _sts_row(draw: random.Random) -> dict[str, Any]:
    likeness = draw.randrange(6)
    words = ["good"] * likeness + ["bad"] * (5 - likeness)
    return {"text_a": _say(draw, GOOD), "text_b": " ".join(words), "score": float(likeness)}


def _paraphrase_row(draw: random.Random) -> dict[str, Any]:
    label = draw.randrange(2)
    return {"text_a": _say(draw, GOOD), "text_b": _say(draw, (BAD, GOOD)[label]), "label": label}


def _ner_row(draw: random.Random) -> dict[str, Any]:
    words = draw.choices([*NAMES, "the", "film", "was", "good", "!"], k=draw.randint(2, 9))
    return {"tokens": words, "tags": ["B-person" if word in NAMES else "O" for word in words]}


def _choice_row(draw: random.Random) -> dict[str, Any]:
    choices = [_say(draw, BAD) for _ in range(draw.randint(2, 4))]
    label = draw.randrange(len(choices))
    choices[label] = _say(draw, GOOD)
    return {"context": _say(draw, NEUTRAL[:6]), "question": "was it", "choices": choices, "label": label}


def _span_row(draw: random.Random) -> dict[str, Any]:
    context = f"{_say(draw, BAD)} and {_say(draw, GOOD)} !"
    found = [word for word in GOOD if word in context and draw.random() < 0.7]
    question = "is it" if found else "is it very"
    answers = {"text": found, "answer_start": [context.index(word) for word in found]}
    return {"context": context, "question": question, "answers": answers}


ROWS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "sentiment": _sentiment_row,
    "nli": _nli_row,
    "sts": _sts_row,
    "paraphrase": _paraphrase_row,
    "ner": _ner_row,
    "reading-comprehension": _choice_row,
    "extractive-reading-comprehension": _span_row,
    "text-classification": _topic_row,
    "multi-label-classification": _topics_row,
    "pair-classification": _topic_pair_row,
}
"""By task, what makes a row of its data."""
