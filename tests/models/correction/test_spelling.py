"""Unknown words: which are read as known ones, as which, and the file of the known words."""

import gzip
import pickle
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.correction.errors import error_chance, one_error_away
from models.correction.spelling import (
    CONTRACTIONS,
    LONGEST,
    RARE_SHARE,
    SHORTEST,
    UNKNOWN_SHARE,
    KnownWords,
    WordListError,
)

FREQUENT = ("the", "was", "movie", "film", "good", "them", "movies", "form", "from")
RARE = ("abacus", "filmic", "goody", "zebra")
WORDS = KnownWords(FREQUENT, RARE)


def correct(text: str, words: KnownWords = WORDS) -> str:
    for span, to in reversed(list(words.find_corrections(text))):
        text = text[: span.start] + to + text[span.end :]
    return text


def likeliest_by_definition(word: str) -> str:
    """The word itself, or the frequent one at distance 1 that is likelier."""
    near = [other for other in FREQUENT if other in one_error_away(word) and word not in FREQUENT + RARE]
    likely = {other: WORDS.share(other) * error_chance(other, word) for other in near}
    best = max(near, key=lambda other: (likely[other], other), default=word)
    return best if likely.get(best, 0) > WORDS.share(word) else word


@given(word=st.sampled_from(FREQUENT + RARE), data=st.data())
def test_a_word_is_read_as_the_one_at_distance_one_that_was_most_likely_meant(word: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(word)))
    letters = data.draw(st.text(string.ascii_lowercase, max_size=2))
    changed = word[:place] + letters + word[place + data.draw(st.integers(0, 2)) :]
    if len(changed) >= SHORTEST:
        assert WORDS.correct(changed) == likeliest_by_definition(changed)


def test_shares_fall_with_the_rank_and_are_least_for_unknown_words() -> None:
    shares = [WORDS.share(word) for word in (*FREQUENT, "zebra", "moives", "mvi")]
    assert shares[:-1] == sorted(shares[:-1], reverse=True)
    assert len(set(shares)) == len(shares)
    assert shares[-3:] == [RARE_SHARE, UNKNOWN_SHARE, pytest.approx(1e-6)]  # short ones are often abbreviations
    assert sum(shares) < 1


@pytest.mark.parametrize("word", sorted(CONTRACTIONS))
def test_contractions_without_their_apostrophe_stay(word: str) -> None:
    words = KnownWords(
        ("want", "isn", "hasn", "weren", "there", "your", "live", "he", "her", "were", "wont", "ha", "hi")
    )
    assert words.correct(word) == word
    assert words.correct("isnn") == "isnn"  # no piece of one is what anybody meant


def test_the_kind_of_error_decides_between_words() -> None:
    words = KnownWords(("that", "they", "with", "wit", "seem", "seems", "high", "hog"))
    read = {written: words.correct(written) for written in ("thay", "wiht", "seesm", "higg", "tht", "withh")}
    assert read == {
        "thay": "that", "wiht": "with", "seesm": "seems", "higg": "high", "tht": "that", "withh": "with",
    }  # fmt: skip


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
        ("zebra filmic abacus", "zebra filmic abacus"),
        ("goody", "goody"),  # a rare word is known, though a frequent one is near
        ("zebr abacu", "zebr abacu"),  # and none is read as it
        ("go od mov ie, f rom", "good movie, from"),
        ("th e mo vie", "th e movie"),  # too short to be sure of it
        ("the fil mic", "the filmic"),
        ("the zeb ra", "the zeb ra"),  # unknown short words are often abbreviations
        ("the mov was", "the mov was"),
        ("he 'mo vie", "he 'mo vie"),
        ("go  od go-od go\nod", "go  od go-od go\nod"),
        ("wqs", "was"),
        ("it iz", "it iz"),
        (
            "Moive MOIVE mOive MOVEIS MOIVE",
            "Movie MOIVE movie MOVIES MOIVE",
        ),  # short ones in capitals are often acronyms
        ("moViie Wass moVie mov iE MOvie MOVs", "movie Was moVie mov iE MOvie MOVs"),
        ("Zevra Goody, Mov ie Mo Vie", "Zevra Goody, Movie Mo Vie"),  # names need more to be taken for errors
        ("moive2 moive_x naïmoive moivé", "moive2 moive_x naïmoive moivé"),
        (
            "@moive #moive moive@x.org moive.com www.moive a/moive",
            "@moive #moive moive@x.org moive.com www.moive a/moive",
        ),
        ("moive'll o'moive", "moive'll o'moive"),
        ("VRY TEH", "VRY TEH"),  # one or two words in capitals may be acronyms
        ("TEH MOIVE: WQS GO OD, É!", "THE MOVIE: WAS GOOD, É!"),
        ("TEH MOIVE MOVEIS good", "TEH MOIVE MOVIES good"),
        ("moive.", "movie."),
        ("moive: the", "movie: the"),
    ],
)
def test_only_whole_words_are_corrected(written: str, read: str) -> None:
    assert correct(written) == read


@given(text=st.text("thefilmov ie.,'", max_size=40) | st.text("THEFILMOV IE.,'É", max_size=40))
def test_correcting_again_and_again_ends(text: str) -> None:
    for _ in range(len(text) + 1):
        text, before = correct(text), text
        if text == before:
            return
    raise AssertionError(text)


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


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"the\nwas\n",
        *map(gzip.compress, (b"", b"\xff\n", b"the\n\nzebra", b"the\r\nwas\r\n", b"the2\n", b"Th e\n")),
    ],
    ids=["empty", "plain", "of nothing", "no text", "cut", "other ends", "digits", "other signs"],
)
def test_a_damaged_list_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "words.txt.gz").write_bytes(content)
    with pytest.raises(WordListError, match=r"words\.txt\.gz: cannot be read"):
        KnownWords.read(tmp_path / "words.txt.gz")
