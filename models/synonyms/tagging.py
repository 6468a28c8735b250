"""Word classes of the words of a sentence, their base forms and their other forms.

The default tagger is textblob's, with a lexicon and rules inside the package. Any other tagger that gives Penn tags can
take its place. Inflections are lemminflect's, and so are base forms, among which WordNet decides. Both packages are
imported when first used.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple, Protocol, runtime_checkable

from models.synonyms.wordnet import WordClass, WordNet

TAGS: Mapping[WordClass, tuple[str, ...]] = {
    "NOUN": ("NN", "NNS"),
    "VERB": ("VB", "VBD", "VBG", "VBN", "VBP", "VBZ"),
    "ADJ": ("JJ", "JJR", "JJS"),
    "ADV": ("RB", "RBR", "RBS"),
}
"""The Penn tags that a word of each class can have."""

_CLASS_OF_TAG: Mapping[str, WordClass] = {tag: word_class for word_class, tags in TAGS.items() for tag in tags}
"""The class of each Penn tag; question words (`when`), proper nouns and modal verbs have none."""

_GRAMMATICAL = frozenset(
    ("be", "am", "is", "are", "was", "were", "been", "being", "have", "has", "had", "having", "do", "does", "did",
     "done", "doing", "'m", "'re", "'s", "'ve", "'d", "not", "n't")
)  # fmt: skip
"""Auxiliaries and negations, which Penn tags call verbs and adverbs; replacing them would break a sentence."""


class Tag(NamedTuple):
    """A word's part in its sentence."""

    penn: str
    word_class: WordClass | None
    """The word's class; None if it must not be replaced: a name, an auxiliary, a negation or another class."""


@runtime_checkable
class Tagger(Protocol):
    """Tags the words of a text with their classes."""

    def tag(self, words: Sequence[str]) -> Sequence[Tag]:
        """One tag for each word of a text."""


class LexiconTagger:
    """Tags words by textblob's lexicon and rules, which do not tell auxiliaries from other verbs; a list does."""

    def tag(self, words: Sequence[str]) -> list[Tag]:
        """One tag for each word."""
        # Imported here, since it takes seconds and only one method needs it.
        from textblob.en import parser

        return [Tag(penn, class_of(word, penn)) for word, penn in parser.find_tags(list(words))]


def class_of(word: str, penn: str) -> WordClass | None:
    """The class of a word with this Penn tag; None for names, auxiliaries, negations and everything else."""
    return None if word.lower() in _GRAMMATICAL else _CLASS_OF_TAG.get(penn)


def base_form(word: str, word_class: WordClass, wordnet: WordNet) -> str:
    """The dictionary form, in lower case; it is found by rule for words that are in no dictionary.

    Of several, WordNet's most frequent counts (`leaves` is of `leaf`, not of `leave`), and of equally frequent ones
    lemminflect's first. A word that is its own first dictionary form, such as `data`, stays as it is.
    """
    word = word.lower()
    found = _base_forms(word, word_class)
    known = [form for form in found if form in wordnet.lemmas(word_class)] or found
    if known[0] == word:
        return word
    return max((form for form in known if form != word), key=lambda form: wordnet.frequency(form, word_class))


@cache
def _base_forms(word: str, word_class: WordClass) -> tuple[str, ...]:
    import lemminflect

    # Its rule (version 0.2.3) takes the ending off a lone "s" and leaves nothing.
    return tuple(str(form) for form in lemminflect.getLemma(word, upos=word_class) if form) or (word,)


@cache
def inflections(base: str, word_class: WordClass, tag: str, *, by_rule: bool) -> tuple[str, ...]:
    """The forms under every Penn tag of the class but `tag`, sorted; with `by_rule`, those in no dictionary too."""
    import lemminflect

    others = (other for other in TAGS[word_class] if other != tag)
    return tuple(sorted({form for other in others for form in lemminflect.getInflection(base, other, by_rule)}))


@cache
def inflect(base: str, word_class: WordClass, tag: str) -> str:
    """A word in the form of a Penn tag; in an expression of several words, a verb's first word or else the last.

    Nouns and verbs that are in no dictionary are inflected by rule; adjectives and adverbs stay as they are.
    """
    import lemminflect

    words = base.split(" ")
    place = 0 if word_class == "VERB" else -1
    found = lemminflect.getInflection(words[place], tag=tag, inflect_oov=word_class in ("NOUN", "VERB"))
    if found:
        words[place] = str(found[0])
    return " ".join(words)
