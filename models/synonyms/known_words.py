"""The words that a corrected text may hold: those of the training texts, of WordNet and of the tokenizer."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import get_args

from tokenizers import Tokenizer

from models.checkpoint import DataSource
from models.correction.errors import error_chance, one_error_away
from models.correction.reading import Correction
from models.correction.spelling import LONGEST, SHORTEST, KnownWords
from models.data import read_texts
from models.synonyms.wordnet import WordClass, WordNet, default_folder
from models.tasks.task import AnyTask

LEAST_COUNT = 2
"""A word that training texts hold only once is as likely a typing error as a word."""

EXPECTED_ERRORS = 0.2
"""The share of a word's count that must be expected of errors before the word is taken for one.

More errors are of few kinds than one chance for each kind can say, so that it is less than a half.
"""

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
    order of their numbers. WordNet's words and their inflections are only known. What training texts hold and neither
    of the others is left out where it is likely a typing error for a word that they hold more often.
    """
    counts = Counter(word for text in texts for word in _WORD.findall(text.lower()) if _WHOLE.fullmatch(word))
    listed = [word for word in _whole_words(vocabulary) if _WHOLE.fullmatch(word)]
    rare = {*_inflected(wordnet)}
    ranked = sorted((-count, word) for word, count in counts.items() if count >= least_count)
    spelt = {*listed, *rare}
    frequent = [word for _, word in ranked if word in spelt or not _is_likely_an_error(word, counts)]
    return KnownWords([*dict.fromkeys([*frequent, *listed])], rare)


def _is_likely_an_error(word: str, counts: Mapping[str, int]) -> bool:
    """Whether errors in other words are expected to give a good part of a word's count; short ones may be acronyms."""
    near = one_error_away(word) & counts.keys()
    return len(word) > SHORTEST and any(
        counts[other] * error_chance(other, word) > EXPECTED_ERRORS * counts[word] for other in near
    )


def _whole_words(vocabulary: Mapping[str, int]) -> Iterable[str]:
    ordered = sorted(vocabulary, key=vocabulary.__getitem__)
    prefixed = [token[1:] for token in ordered if token.startswith(_BEFORE_WORDS)]
    return [word.lower() for word in prefixed or ordered if word.isalpha()]


def _inflected(wordnet: WordNet) -> Iterable[str]:
    """The single words of WordNet and the parts of its compounds, with the inflections that lemminflect lists."""
    import lemminflect  # slow, and needed only here

    for word_class in get_args(WordClass):
        for lemma in wordnet.lemmas(word_class):
            yield from _WORD.findall(lemma)
            if lemma.isalpha() and word_class != "ADV":
                forms = lemminflect.getAllInflections(lemma, word_class)
                yield from (form for found in forms.values() for form in found if _WHOLE.fullmatch(form))
