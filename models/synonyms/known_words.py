"""The words that a corrected text may hold: of the training texts, the tokenizer, WordNet and a list of usual words.

The list is wordfreq's (Speer 2022), counted in encyclopedias, subtitles, news, books, the web, Twitter and Reddit: it
has the names, the slang and the new words that WordNet lacks.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import get_args

from tokenizers import Tokenizer

from models.checkpoint import DataSource
from models.correction.errors import CHANCES, SOUND_ALIKE, error_chance, error_kind, likelier_errors, one_error_away
from models.correction.reading import Correction
from models.correction.spelling import LONGEST, SHORTEST, KnownWords
from models.data import read_texts
from models.synonyms.tagging import inflect
from models.synonyms.wordnet import WordClass, WordNet, default_folder
from models.tasks.task import AnyTask

LEAST_COUNT = 2
"""A word that training texts hold only once is as likely a typing error as a word."""

EXPECTED_ERRORS = 0.3
"""The share of a word's count that must be expected of errors before the word is taken for one.

More errors are of few kinds than one chance for each kind can say, so that it is less than a half.
"""

EXPECTED_MISSPELLINGS = 0.02
"""The same where the error sounds alike (`recieve`, `definately`), which is more often written than slips are."""

LONGEST_CROWDED = 5
"""Words of so few letters have others beside them by chance: names, words of other languages, acronyms."""

EXPECTED_OF_CROWDED = 1.0
"""The share that must be expected of errors for these, whatever the error."""

EXPECTED_OF_SHORT = 10.0
"""The same for words of three letters, of which many are acronyms."""

OF_THE_FIELD = 30.0
"""A word that training texts hold so many times as often as usual is one of their field, and no error."""

LEAST_OF_THE_FIELD = 10
"""Fewer may be errors, for one of them is far more than usual of words that come once in 100 million."""

LEAST_USUAL = 1e-7
"""The least share of a usual word that others are read as, where names are corrected: training texts hold few names."""

_WORD = re.compile("(?<![a-z]['\u2019])(?<![a-z])[a-z]+")
"""A word, or part of one, in small letters; not the end of a contraction."""

_WHOLE = re.compile(rf"[a-z]{{1,{LONGEST}}}")
_BEFORE_WORDS = ("\u0120", "\u2581")
"""Signs that tokenizers of bytes and of SentencePiece put before a token that begins a word."""


def make_correction(source: DataSource, task: AnyTask, tokenizer: Tokenizer, rows: int | None) -> Correction:
    """The correction for a model of the task that is trained on the data; `rows` as `load_train` takes them.

    Tasks that name no fields to be corrected have letters corrected alone.

    Raises:
        DataError: the training texts cannot be read.
        WordNetError: WordNet is not installed here.
    """
    if not task.corrected.fields:
        return Correction()
    texts = (text for record in read_texts(source, task, rows) for text in record)
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    words = make_known_words(texts, vocabulary, WordNet(default_folder()), read_as_usual=task.corrected.names)
    return Correction(words, task.corrected)


def make_known_words(
    texts: Iterable[str],
    vocabulary: Mapping[str, int],
    wordnet: WordNet,
    *,
    least_count: int = LEAST_COUNT,
    read_as_usual: bool = False,
) -> KnownWords:
    """Collect known words in small letters.

    Others are read as words of the training texts, most frequent first, as whole words of the tokenizer, in the order
    of their numbers, or, with `read_as_usual`, as usual ones, most frequent first. WordNet's words with their
    inflections, other usual ones and slights are only known. What training texts or the list of usual words hold, and
    neither the tokenizer nor WordNet, is left out where it is likely a typing error for a word that is more frequent
    there.
    """
    counts = Counter(word for text in texts for word in _WORD.findall(text.lower()) if _WHOLE.fullmatch(word))
    listed = [word for word in _whole_words(vocabulary) if _WHOLE.fullmatch(word)]
    spelt = {*listed, *_inflected(wordnet)}
    usual = _usual()
    scale = OF_THE_FIELD * counts.total()
    doubtful = _usual_errors() - spelt
    of_the_field = {word for word in doubtful if counts[word] >= max(scale * usual[word], LEAST_OF_THE_FIELD)}
    others = {word for word in counts.keys() - spelt - usual.keys() if len(word) > SHORTEST}
    errors = (doubtful - of_the_field) | _likely_errors(counts, of_the_field | others)
    ranked = sorted((-count, word) for word, count in counts.items() if count >= least_count and word not in errors)
    frequent = sorted((-share, word) for word, share in usual.items() if read_as_usual and share >= LEAST_USUAL)
    targets = dict.fromkeys([*(word for _, word in ranked), *listed, *(word for _, word in frequent)])
    slights = {form for word in wordnet.slights() for form in (word, inflect(word, "NOUN", "NNS"))}
    left_out = errors | slights
    return KnownWords([word for word in targets if word not in left_out], {*spelt, *usual, *targets} - errors)


def _likely_errors(counts: Mapping[str, float], words: set[str]) -> set[str]:
    """Those of the words of whose counts errors in other words are expected to give a good part."""
    # Errors too unlikely for the least count of all are not looked for, which saves most of the time. No share is below
    # that of misspellings, and none but theirs below that of errors.
    least = min((counts[word] for word in words), default=math.inf)
    least_misspelt = least * EXPECTED_MISSPELLINGS / max(CHANCES.values())
    least_mistyped = least * EXPECTED_ERRORS / max(CHANCES["put in"], CHANCES["exchanged"])
    return {
        word
        for other, count in counts.items()
        if count > least_misspelt
        for word in words.intersection(one_error_away(other) if count > least_mistyped else likelier_errors(other))
        if word != other and count * error_chance(other, word) > _expected(other, word) * counts[word]
    }


def _expected(meant: str, word: str) -> float:
    if len(word) == SHORTEST:
        return EXPECTED_OF_SHORT
    if len(word) <= LONGEST_CROWDED:
        return EXPECTED_OF_CROWDED
    return EXPECTED_MISSPELLINGS if error_kind(meant, word) in SOUND_ALIKE else EXPECTED_ERRORS


@cache
def _usual() -> Mapping[str, float]:
    """The share of each of wordfreq's words in English texts; the least frequent come once in 100 million."""
    import wordfreq  # needed only here

    return {word: share for word, share in wordfreq.get_frequency_dict("en").items() if _WHOLE.fullmatch(word)}


@cache
def _usual_errors() -> frozenset[str]:
    return frozenset(_likely_errors(_usual(), {word for word in _usual() if len(word) >= SHORTEST}))


def _whole_words(vocabulary: Mapping[str, int]) -> Iterable[str]:
    ordered = sorted(vocabulary, key=vocabulary.__getitem__)
    prefixed = [token[1:] for token in ordered if token.startswith(_BEFORE_WORDS)]
    return [word.lower() for word in prefixed or ordered if word.isalpha()]


def _inflected(wordnet: WordNet) -> Iterable[str]:
    """The single words of WordNet, with the inflections that lemminflect lists."""
    import lemminflect  # slow, and needed only here

    for word_class in get_args(WordClass):
        for lemma in filter(_WHOLE.fullmatch, wordnet.lemmas(word_class)):
            yield lemma
            if word_class != "ADV":
                forms = lemminflect.getAllInflections(lemma, word_class)
                yield from (form for found in forms.values() for form in found if _WHOLE.fullmatch(form))
