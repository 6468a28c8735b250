"""Words as tokens: a vocabulary made from training texts, and vectors for it read from a text file.

Texts are lower-cased and split at white space and punctuation. All words with a digit in them are the same word. Words
that are not in the vocabulary are read as the unknown word, so every word of a text keeps its place, and a text of
unknown words is not empty; the code of Kitada & Iyatomi 2021 deletes them. There are no special tokens around texts, so
none can draw attention.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from models.errors import UserError

PADDING, UNKNOWN = "[PAD]", "[UNK]"

NUMBER = "0"
"""The word that replaces every word with a digit in it."""


class VectorsError(UserError):
    """A file of word vectors that cannot be used."""


def make_tokenizer(rows: Iterable[Collection[str]], min_documents: int) -> PreTrainedTokenizerFast:
    """A tokenizer of the words that are in at least `min_documents` rows, the most frequent first, ties by spelling.

    A row is the texts that are read together. Padding has id 0 and the unknown word id 1.
    """
    splitter = _make_splitter({})
    counts: Counter[str] = Counter()
    for texts in rows:
        counts.update({word for text in texts for word in split(splitter, text)})
    ranked = sorted(counts.items(), key=lambda found: (-found[1], found[0]))
    words = [word for word, count in ranked if count >= min_documents]
    return PreTrainedTokenizerFast(
        tokenizer_object=_make_splitter({word: number for number, word in enumerate(words, start=2)}),
        unk_token=UNKNOWN,
        pad_token=PADDING,
    )


def split(tokenizer: Tokenizer, text: str) -> list[str]:
    """The words of a text, known and unknown."""
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))]


def read_vectors(path: Path, words: Collection[str], width: int) -> tuple[dict[str, npt.NDArray[np.float32]], str]:
    """The vectors of these words, and the file's sha256.

    The file has fastText's or GloVe's form: a word and its numbers on each line, perhaps after a line with the counts.

    Raises:
        VectorsError: the file cannot be read, a line has not `width` finite numbers, or no word has a vector.
    """
    found: dict[str, npt.NDArray[np.float32]] = {}
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                digest.update(line)
                # Split from the right, since some of GloVe's words hold spaces.
                word, *values = line.decode("utf-8", errors="replace").rstrip().rsplit(" ", width)
                if number == 1 and len(line.split()) == 2:
                    continue
                if len(values) != width:
                    raise VectorsError(
                        f"{path}: line {number} has not {width} numbers; set bilstm.word_width to the vectors' width"
                    )
                if word in words:
                    found[word] = _read_numbers(values, path, number)
    except OSError as error:
        raise VectorsError(f"{path}: cannot be read ({error.strerror})") from error
    if not found:
        raise VectorsError(
            f"{path}: has none of the {len(words)} words; are its vectors {width} wide, its words lower-cased?"
        )
    return found, digest.hexdigest()


def _read_numbers(values: list[str], path: Path, number: int) -> npt.NDArray[np.float32]:
    try:
        vector = np.array(values, dtype=np.float32)
    except ValueError as error:
        raise VectorsError(f"{path}: line {number}: {error}") from error
    if not np.isfinite(vector).all():
        raise VectorsError(f"{path}: line {number}: a number is not finite")
    return vector


def _make_splitter(words: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(WordLevel({PADDING: 0, UNKNOWN: 1, **words}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.BertNormalizer(lowercase=True, strip_accents=False), normalizers.Replace(Regex(r"\p{N}"), NUMBER)]
    )
    # A normalizer that replaced a word as a whole would lose its place in the text. So the first digit stands for the
    # word, and the text around it is left out.
    rest = pre_tokenizers.Split(Regex(rf"^[^{NUMBER}]+(?={NUMBER})|(?<={NUMBER}).+"), "removed")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), rest])
    tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
    return tokenizer
