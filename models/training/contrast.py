"""Further training records, made from those of a task that compares two texts: pairs that differ by a changed meaning.

The pairs are made once for a training, before its first epoch; `models.edits.contrast` says how and after whom.
"""

import random
from collections.abc import Iterator, Sequence

from models.data import Example
from models.edits.contrast import MadePair, contrast_pairs
from models.edits.noise import Noise
from models.tasks.task import AnyTask, Outputs
from models.text import BadInput, Reader
from models.training.settings import TextNoise


def make_contrast(
    examples: Sequence[Example], task: AnyTask, outputs: Outputs, reader: Reader, noise: TextNoise | None, seed: int
) -> tuple[Example, ...]:
    """The made examples, in the order of those that they are made from: a pure function of these and the seed.

    Each text of an example is chosen with the share of the settings; a chosen one gives two pairs, or none where the
    texts of its example cannot be changed into another meaning.
    """
    if noise is None or not noise.contrast_pairs:
        return ()
    assert task.robustness.contrast is not None, "the settings were checked"
    other, same = (outputs.labels.index(label) for label in task.robustness.contrast)
    made = (_read(pair, same if pair.is_same else other, task, reader) for pair in _pairs(examples, noise, seed))
    return tuple(example for example in made if example is not None)


def _pairs(examples: Sequence[Example], noise: TextNoise, seed: int) -> Iterator[MadePair]:
    copies = Noise(families=noise.families, share=noise.share)
    for number, example in enumerate(examples):
        draw = random.Random(f"{seed}/contrast/{number}")
        first, second = example.encoded.texts.values()
        for _ in range(2):
            if draw.random() < noise.contrast_pairs:
                yield from contrast_pairs(first, second, draw, copies)


def _read(pair: MadePair, target: int, task: AnyTask, reader: Reader) -> Example | None:
    """The pair as training reads it; None if noise has left nothing to read."""
    item = task.item.model_validate(dict(zip(task.columns, (pair.first, pair.second), strict=True)))
    try:
        return Example(task.encode(item, reader, "right"), target, item=item)
    except BadInput:
        return None
