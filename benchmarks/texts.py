"""Reviews put together from phrases: as long as people's sentences, and free to pass on."""

import math
import random

_OPENINGS = (
    "i went in expecting very little and", "from the first scene to the last", "for all its faults",
    "my sister loved the book , so", "without giving anything away", "somewhere in the second act", "at its best",
)  # fmt: skip
_SUBJECTS = ("the film", "this sequel", "the direction", "the whole cast", "its tired script", "the camera work", "it")
_VERBS = ("is", "turns out to be", "never stops being", "feels", "was not", "could hardly be more", "remains")
_JUDGEMENTS = (
    "a delight", "clumsy and overlong", "moving", "quietly hilarious", "as dull as dishwater", "worth every minute",
    "an exercise in patience", "beautifully judged", "too clever by half", "forgettable",
)  # fmt: skip
_CLOSINGS = ("", ".", ", and i would see it again .", ", though nobody asked for it .", ", which is a pity !")


def make_texts(count: int, *, seed: int = 0) -> list[str]:
    """Distinct texts of one to three clauses each, about ten tokens a clause."""
    draw = random.Random(seed)
    texts: dict[str, None] = {}
    while len(texts) < count:
        parts = [
            " ".join(draw.choice(words) for words in (_OPENINGS, _SUBJECTS, _VERBS, _JUDGEMENTS))
            + draw.choice(_CLOSINGS)
            for _ in range(draw.randint(1, 3))
        ]
        texts[" ".join(parts)] = None
    return list(texts)


def make_mixed_texts(count: int, *, words: tuple[int, int], seed: int = 0) -> list[str]:
    """Texts of random lengths in `words`, spread evenly over the orders of magnitude between its two ends."""
    draw = random.Random(seed)
    shortest, longest = map(math.log, words)
    source = " ".join(make_texts(500, seed=seed)).split()
    texts = []
    for _ in range(count):
        length = round(math.exp(draw.uniform(shortest, longest)))
        start = draw.randrange(len(source))
        texts.append(" ".join(source[(start + place) % len(source)] for place in range(length)))
    return texts
