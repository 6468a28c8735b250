"""Noisy copies of texts to train on: several words changed at once, by families of edits."""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from models.edits import find_family
from models.edits.family import Family, replace_all
from models.edits.names import NAMES, exchange_names
from models.edits.synonyms import count_words
from models.edits.typos import inner_typos, is_long_word

LEAST_SHARE = 0.05
BOTH = 0.1
"""Probability that a copy is changed by two families, each with half of the share; else by one, all equally likely."""
EXCHANGED = 0.5
"""Probability that names are exchanged beside what else changes; without another family they always are."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How copies are made noisy."""

    families: tuple[str, ...] = ("typos", "synonyms+any-sense")
    """Names of families, at least one."""
    share: float = 0.25
    """Largest share of the words that are changed; the share of a copy is drawn evenly from 0.05 to it."""

    def __post_init__(self) -> None:
        if not self.families:
            raise ValueError("noise needs a family of edits; for none, make no noise")
        if not LEAST_SHARE <= self.share <= 1:
            raise ValueError(f"the share of noisy words is from {LEAST_SHARE} to 1, not {self.share}")

    def copy_texts(self, texts: Sequence[str], noisy: Collection[int], draw: random.Random) -> list[str]:
        """A noisy copy of texts that belong together, a pure function of them and the stream.

        Names are exchanged alike in all of the texts, for who is spoken of in one may be compared with the others. The
        other families change each of the `noisy` texts, given by number, on its own.

        Raises:
            UnknownFamily, WordNetError: as `find_family` does.
        """
        if NAMES.name in self.families and (len(self.families) == 1 or draw.random() < EXCHANGED):
            texts = exchange_names(texts, draw.uniform(LEAST_SHARE, self.share), draw)
        return [self.copy(text, draw) if number in noisy else text for number, text in enumerate(texts)]

    def copy(self, text: str, draw: random.Random) -> str:
        """One noisy copy, a pure function of the text and the stream; at least one word is changed where one can be.

        Names stay, as the text may be compared with another.

        Raises:
            UnknownFamily, WordNetError: as `find_family` does.
        """
        families = [name for name in self.families if name != NAMES.name]
        wanted = 2 if draw.random() < BOTH and len(families) > 1 else 1
        share = draw.uniform(LEAST_SHARE, self.share) / wanted
        for name in draw.sample(families, len(families)):
            changed = _change(text, find_family(name), share, draw)
            # A family that finds nothing to change leaves its turn to the next.
            wanted -= changed != text
            text = changed
            if not wanted:
                break
        return text

    def copy_words(self, words: Sequence[str], draw: random.Random) -> tuple[str, ...]:
        """A noisy copy of a text already split into words; each stays one word, so only typos inside it are made.

        Without the family `typos` the words stay as they are.
        """
        long = [place for place, word in enumerate(words) if is_long_word(word)]
        changed = list(words)
        if long and "typos" in self.families:
            count = max(1, round(draw.uniform(LEAST_SHARE, self.share) * len(long)))
            for place in sorted(draw.sample(long, count)):
                changed[place] = draw.choice(draw.choice([kind for kind in inner_typos(words[place]) if kind]))
        return tuple(changed)


def _change(text: str, family: Family, share: float, draw: random.Random) -> str:
    """The text with this share of its words changed by a family, but at least one if it can change any."""
    spans = family.spans(text)
    count = max(1, round(share * (count_words(text) if family.counts_all_words else len(spans))))
    chosen = draw.sample(spans, min(count, len(spans)))
    # All are drawn for the text as it was, so that spans and the sense of the other words hold.
    drawn = ((span, family.draw(text, span, draw)) for span in sorted(chosen))
    return replace_all(text, ((span, word) for span, word in drawn if word is not None))
