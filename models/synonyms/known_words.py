"""The words that a corrected text may hold: of the training texts, the tokenizer, WordNet and a list of usual words.

The list is wordfreq's (Speer 2022), counted in encyclopedias, subtitles, news, books, the web, Twitter and Reddit: it
has the names, the slang and the new words that WordNet lacks.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import get_args

from tokenizers import Tokenizer

from models.checkpoint import DataSource
from models.correction.errors import SOUND_ALIKE, error_chance, error_kind, one_error_away
from models.correction.reading import Correction
from models.correction.spelling import LONGEST, SHORTEST, KnownWords
from models.data import read_texts
from models.synonyms.wordnet import WordClass, WordNet, default_folder
from models.tasks.task import AnyTask

LEAST_COUNT = 2
"""A word that training texts hold only once is as likely a typing error as a word."""

EXPECTED_ERRORS = 0.1
"""The share of a word's count that must be expected of errors before the word is taken for one.

More errors are of few kinds than one chance for each kind can say, so that it is less than a half.
"""

EXPECTED_MISSPELLINGS = 0.02
"""The same where the error sounds alike (`recieve`, `definately`), which is more often written than slips are."""

LONGEST_CROWDED = 5
"""Words of so few letters have others beside them by chance, so that they are held to EXPECTED_ERRORS."""

EXPECTED_OF_SHORT = 10.0
"""The same for usual words of three letters, of which many are acronyms."""

OF_THE_FIELD = 30.0
"""A word that training texts hold so many times as often as usual is one of their field, and no error."""

USUAL_WORDS = 100_000
"""How many of wordfreq's words are looked at, the most frequent first. The last come once in 10 million words."""

_WORD = re.compile("(?<![a-z]['\u2019])(?<![a-z])[a-z]+")
"""A word, or part of one, in small letters; not the end of a contraction."""

_WHOLE = re.compile(rf"[a-z]{{1,{LONGEST}}}")
_BEFORE_WORDS = ("\u0120", "\u2581")
"""Signs that tokenizers of bytes and of SentencePiece put before a token that begins a word."""


def make_correction(source: DataSource, task: AnyTask, tokenizer: Tokenizer, rows: int | None) -> Correction:
    """The correction for a model of the task that is trained on the data; `rows` as `load_train` takes them.

    Tasks whose answers quote all of their texts have letters corrected alone.

    Raises:
        DataError: the training texts cannot be read.
        WordNetError: WordNet is not installed here.
    """
    if not task.corrected_fields:
        return Correction()
    texts = (text for record in read_texts(source, task, rows) for text in record)
    words = make_known_words(texts, tokenizer.get_vocab(with_added_tokens=False), WordNet(default_folder()))
    return Correction(words, task.corrected_fields)


def make_known_words(
    texts: Iterable[str], vocabulary: Mapping[str, int], wordnet: WordNet, *, least_count: int = LEAST_COUNT
) -> KnownWords:
    """Collect known words in small letters.

    Others are read as words of the training texts, most frequent first, or as whole words of the tokenizer, in the
    order of their numbers. WordNet's words with their inflections, and usual ones, are only known. What training texts
    or the list of usual words hold, and neither the tokenizer nor WordNet, is left out where it is likely a typing
    error for a word that is more frequent there.
    """
    counts = Counter(word for text in texts for word in _WORD.findall(text.lower()) if _WHOLE.fullmatch(word))
    listed = [word for word in _whole_words(vocabulary) if _WHOLE.fullmatch(word)]
    spelt = {*listed, *_inflected(wordnet)}
    usual = _usual()
    scale = OF_THE_FIELD * counts.total()
    errors = {word for word in _usual_errors() - spelt if counts[word] < scale * usual[word]}
    others = {word for word in counts.keys() - spelt - usual.keys() if len(word) > SHORTEST}
    errors |= {word for word in others if _is_likely_an_error(word, counts)}
    ranked = sorted((-count, word) for word, count in counts.items() if count >= least_count and word not in errors)
    return KnownWords([*dict.fromkeys([*(word for _, word in ranked), *listed])], {*spelt, *usual} - errors)


def _is_likely_an_error(word: str, counts: Mapping[str, float]) -> bool:
    """Whether errors in other words are expected to give a good part of a word's count."""
    return len(word) >= SHORTEST and any(
        counts[other] * error_chance(other, word) > _expected(other, word) * counts[word]
        for other in one_error_away(word) & counts.keys()
    )


def _expected(meant: str, word: str) -> float:
    if len(word) == SHORTEST:
        return EXPECTED_OF_SHORT
    is_heard = len(word) > LONGEST_CROWDED and error_kind(meant, word) in SOUND_ALIKE
    return EXPECTED_MISSPELLINGS if is_heard else EXPECTED_ERRORS


@cache
def _usual() -> Mapping[str, float]:
    """The share of each of wordfreq's most frequent words in English texts."""
    import wordfreq  # needed only here

    shares = wordfreq.get_frequency_dict("en")
    return {word: shares[word] for word in wordfreq.top_n_list("en", USUAL_WORDS) if _WHOLE.fullmatch(word)}


@cache
def _usual_errors() -> frozenset[str]:
    return frozenset(word for word in _usual() if _is_likely_an_error(word, _usual()))


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
