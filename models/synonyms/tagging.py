"""Which class of word each word of a sentence is, its base form and its other forms.

The default tagger is textblob's: a lexicon and rules that come inside the package. Anything else that gives Penn tags
can take its place. Base forms and inflections are lemminflect's. Both packages are imported when first used.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple, Protocol, runtime_checkable

from models.synonyms.wordnet import WordClass

TAGS: Mapping[WordClass, tuple[str, ...]] = {
    "NOUN": ("NN", "NNS"),
    "VERB": ("VB", "VBD", "VBG", "VBN", "VBP", "VBZ"),
    "ADJ": ("JJ", "JJR", "JJS"),
    "ADV": ("RB", "RBR", "RBS"),
}
"""The Penn tags that a word of each class can have."""

_CLASS_OF_TAG: Mapping[str, WordClass] = {tag: word_class for word_class, tags in TAGS.items() for tag in tags}
"""Question words (`when`), proper nouns and modal verbs are of no class here."""

_GRAMMATICAL = frozenset(
    ("be", "am", "is", "are", "was", "were", "been", "being", "have", "has", "had", "having", "do", "does", "did",
     "done", "doing", "'m", "'re", "'s", "'ve", "'d", "not", "n't")
)  # fmt: skip
"""Penn tags call auxiliaries verbs and negation an adverb; replaced, a sentence would lose its grammar."""


class Tag(NamedTuple):
    """What a word is in its sentence."""

    penn: str
    word_class: WordClass | None
    """None for a word that is not to be replaced: of another class, a name, an auxiliary or a negation."""


@runtime_checkable
class Tagger(Protocol):
    """What tells the classes of words apart."""

    def tag(self, words: Sequence[str]) -> Sequence[Tag]:
        """One tag for each word of a text."""


class LexiconTagger:
    """textblob's lexicon and rules. Auxiliaries are told by a list, as it cannot tell them from other verbs."""

    def tag(self, words: Sequence[str]) -> list[Tag]:
        """One tag for each word."""
        # Here, not at the top: it takes seconds, and only one method needs it.
        from textblob.en import parser

        return [Tag(penn, class_of(word, penn)) for word, penn in parser.find_tags(list(words))]


def class_of(word: str, penn: str) -> WordClass | None:
    """The class of a word with this Penn tag; None for names, auxiliaries, negations and everything else."""
    return None if word.lower() in _GRAMMATICAL else _CLASS_OF_TAG.get(penn)


@cache
def base_form(word: str, word_class: WordClass) -> str:
    """The dictionary form, in lower case; of words that are in no dictionary, by rule."""
    import lemminflect

    found = lemminflect.getLemma(word.lower(), upos=word_class)
    return str(found[0]) if found else word.lower()


@cache
def inflections(base: str, word_class: WordClass, tag: str, *, by_rule: bool) -> tuple[str, ...]:
    """The forms under every Penn tag of the class but `tag`, sorted; what no dictionary has is made by rule or not."""
    import lemminflect

    others = (other for other in TAGS[word_class] if other != tag)
    return tuple(sorted({form for other in others for form in lemminflect.getInflection(base, other, by_rule)}))


@cache
def inflect(base: str, word_class: WordClass, tag: str) -> str:
    """A word in the form of a Penn tag: of several words a verb's first, else the last.

    Nouns and verbs that are in no dictionary are inflected by rule; adjectives and adverbs stay as they are.
    """
    import lemminflect

    words = base.split(" ")
    place = 0 if word_class == "VERB" else -1
    found = lemminflect.getInflection(words[place], tag=tag, inflect_oov=word_class in ("NOUN", "VERB"))
    if found:
        words[place] = str(found[0])
    return " ".join(words)
