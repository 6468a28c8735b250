"""Items made of the probe texts and of a tokenizer's own words, to try a model on where there are no data for it.

Half of the texts are pieces of the task's probe items. The others are words drawn from the vocabulary, so that a model
of any language reads words that it knows. They have no right answers.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from models.tasks.task import AnyTask
from models.text import BadInput, Encoded, Reader

MADE_ITEMS = 512
MOST_WORDS = 60
"""Most words in a made text; nearly all sentences are shorter."""


def make_items(task: AnyTask, reader: Reader, count: int = MADE_ITEMS) -> list[Encoded]:
    """So many items, always the same ones for a task and a tokenizer, as the model reads them; long ones are cut."""
    draw = random.Random(task.name)
    made: list[Encoded] = []
    # A model may be unable to read some of them, as where a word is unknown to it.
    for _ in range(2 * count):
        if len(made) < count:
            made.extend(_read(task, reader, _make_values(task, reader.tokenizer, draw)))
    return made


def _read(task: AnyTask, reader: Reader, values: Mapping[str, Any]) -> Iterator[Encoded]:
    try:
        yield task.encode(task.item.model_validate(values), reader, "right")
    except BadInput:
        return


def _make_values(task: AnyTask, tokenizer: Tokenizer, draw: random.Random) -> dict[str, Any]:
    """An item of new texts; lists of texts are a probe item's own."""
    item = draw.choice(task.probe_items)
    make = _cut_piece if draw.random() < 0.5 else _draw_words
    return {field: make(value, tokenizer, draw) if isinstance(value, str) else value for field, value in item.items()}


def _cut_piece(text: str, tokenizer: Tokenizer, draw: random.Random) -> str:
    del tokenizer
    words = text.split()
    start = draw.randrange(len(words))
    return " ".join(words[start : start + draw.randint(1, MOST_WORDS)])


def _draw_words(text: str, tokenizer: Tokenizer, draw: random.Random) -> str:
    del text
    numbers: Sequence[int] = draw.choices(range(tokenizer.get_vocab_size()), k=draw.randint(1, MOST_WORDS))
    drawn: str = tokenizer.decode(list(numbers))
    return drawn or "."
