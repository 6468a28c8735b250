"""Unknown words: which are read as known ones, as which, and the file of the known words."""

import gzip
import pickle
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.correction.spelling import LONGEST, KnownWords, WordListError

FREQUENT = ("the", "was", "movie", "film", "good", "them", "movies", "form", "from")
RARE = ("abacus", "filmic", "goody", "zebra")
WORDS = KnownWords(FREQUENT, RARE)


def correct(text: str, words: KnownWords = WORDS) -> str:
    for span, to in reversed(list(words.find_corrections(text))):
        text = text[: span.start] + to + text[span.end :]
    return text


def distance(one: str, other: str) -> int:
    """Damerau's distance of neighbouring swaps, by the recurrence."""
    rows = [list(range(len(other) + 1))]
    for i, left in enumerate(one, start=1):
        row = [i]
        for j, right in enumerate(other, start=1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]


def best_by_definition(word: str) -> str:
    if word in (*FREQUENT, *RARE):
        return word
    near = [known for known in FREQUENT if distance(word, known) == 1]
    with_ends = [known for known in near if (known[0], known[-1]) == (word[0], word[-1])]
    return next(iter(with_ends or near), word)


@given(word=st.sampled_from(FREQUENT + RARE), data=st.data())
def test_a_word_is_read_as_the_most_frequent_one_at_distance_one_that_keeps_its_ends_if_any(
    word: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(word)))
    letters = data.draw(st.text(string.ascii_lowercase, max_size=2))
    changed = word[:place] + letters + word[place + data.draw(st.integers(0, 2)) :]
    if len(changed) >= 3:
        assert WORDS.correct(changed) == best_by_definition(changed)


@given(words=st.sets(st.text("abc", min_size=1, max_size=4)), asked=st.text("abc", max_size=4))
def test_rare_words_are_known(words: set[str], asked: str) -> None:
    known = KnownWords([], words)
    assert (asked in known) == (asked in words)
    assert len(known) == len(words)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("the moive was gooood, teh film", "the movie was gooood, the film"),
        ("moive's 'flim' well-ogod", "movie's 'film' well-good"),
        ("zebra goody abacus", "zebra goody abacus"),
        ("zebr abacu", "zebr abacu"),  # rare words are known, but others are not read as them
        ("wqs", "was"),
        ("it iz", "it iz"),
        ("Moive MOIVE mOive", "Moive MOIVE mOive"),
        ("moive2 moive_x naïmoive moivé", "moive2 moive_x naïmoive moivé"),
        (
            "@moive #moive moive@x.org moive.com www.moive a/moive",
            "@moive #moive moive@x.org moive.com www.moive a/moive",
        ),
        ("moive'll o'moive", "moive'll o'moive"),
        ("moive.", "movie."),
        ("moive: the", "movie: the"),
    ],
)
def test_only_whole_words_in_small_letters_are_corrected(written: str, read: str) -> None:
    assert correct(written) == read


@given(text=st.text("thefilmov ie.,'", max_size=40))
def test_correcting_again_changes_nothing(text: str) -> None:
    assert correct(correct(text)) == correct(text)


def test_very_long_words_cost_nothing() -> None:
    assert correct("m" * 200_000 + " moive") == "m" * 200_000 + " movie"
    assert correct("x" * (LONGEST + 1)) == "x" * (LONGEST + 1)


def test_a_list_is_read_as_it_was_written_and_equal_lists_are_equal_files(tmp_path: Path) -> None:
    WORDS.write(tmp_path / "one.gz")
    KnownWords(FREQUENT, reversed(RARE)).write(tmp_path / "other.gz")
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "other.gz").read_bytes()
    read = KnownWords.read(tmp_path / "one.gz")
    assert gzip.decompress((tmp_path / "one.gz").read_bytes()).decode() == "\n".join([*FREQUENT, "", *RARE, ""])
    for same in (read, pickle.loads(pickle.dumps(WORDS))):
        assert len(same) == len(WORDS)
        assert [same.correct(word) for word in ("moive", "goody", "fomr")] == ["movie", "goody", "form"]


@pytest.mark.parametrize("content", [b"", b"the\nwas\n", gzip.compress(b"\xff")], ids=["empty", "plain", "no text"])
def test_a_damaged_list_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "words.txt.gz").write_bytes(content)
    with pytest.raises(WordListError, match=r"words\.txt\.gz: cannot be read"):
        KnownWords.read(tmp_path / "words.txt.gz")
