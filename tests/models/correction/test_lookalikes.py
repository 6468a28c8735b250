"""Look-alikes and unseen signs: what they are read as, and what stays as it is."""

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from models.correction.lookalikes import CONFUSABLES, INVISIBLE, STAY, fold
from models.words import Span

ZOO = Path(__file__).parents[3] / "zoo"

TEXTS = st.text(max_size=30) | st.text(
    "abА́аΑеоrж ɑ\u0301\u200b\u200c\u200d\u00adéﬁＴ½か\uff9e゙ᄒ한🚀👩´ά\u00a0", max_size=20
)


KEPT = re.compile(f"[{STAY}]")


@given(text=TEXTS)
def test_folding_again_changes_nothing(text: str) -> None:
    folded = fold(text)
    assert fold(folded.text).text is folded.text
    # Raised digits and the like stay.
    assert all(unicodedata.is_normalized("NFKC", piece) for piece in KEPT.split(folded.text))


@given(text=TEXTS)
def test_every_character_that_is_read_stands_somewhere_in_the_written_text(text: str) -> None:
    folded = fold(text)
    for place in range(len(folded.text)):
        start, end = folded.written(Span(place, place + 1))
        assert 0 <= start < end <= len(text)


@given(text=st.text(st.characters(max_codepoint=127)))
def test_ascii_is_the_same_object(text: str) -> None:
    assert fold(text).text is text


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("tеrriblе", "terrible"),  # Cyrillic е
        ("АРРLЕ is good", "APPLE is good"),
        ("the сосоа was соре", "the cocoa was cope"),
        ("te\u200brri\u00adble\ufeff", "terrible"),
        ("f\u200di\u200dl\u200cm", "film"),
        ("ｆｉｌｍ\u3000ﬁne", "film fine"),
        ("cafe\u0301", "café"),
        ("2⅛, awful℠ 5㎏ 20℃ №5 ①good", "2 1⁄8, awful SM 5 kg 20 °C No 5 1 good"),
        ("10\u00a0ｋｍ² ｍade ｏf ＣO₂", "10 km² made of CO₂"),
    ],
)
def test_texts_are_read_as_they_look(written: str, read: str) -> None:
    assert fold(written).text == read


@pytest.mark.parametrize(
    "text",
    [
        "мама мыла раму, а он",
        "сосна и море",
        "καλημέρα κόσμε",
        "👩\u200d🚀 ❤️",
        "می\u200cخواهم",
        "naïve “quote” – it’s",
        "안녕 我爱你",
        "ρ = 3",
        "10² l at 2½ dollars, 10⁻³ of a phone™, and ⅓",
    ],
)
def test_other_alphabets_and_emoji_stay(text: str) -> None:
    folded = fold(text)
    assert folded.text is text
    assert not folded.changes


@pytest.mark.parametrize("letter", CONFUSABLES)
def test_every_lookalike_in_a_word_is_read_as_its_letter(letter: str) -> None:
    for other in CONFUSABLES[letter]:
        assert fold(f"wo{other}rd").text == f"wo{letter}rd"


@pytest.mark.parametrize("sign", INVISIBLE)
def test_every_unseen_sign_in_a_word_is_dropped(sign: str) -> None:
    assert fold(f"wo{sign}rd").text == "word"


def test_a_letter_is_the_lookalike_of_one_letter_only() -> None:
    others = [other for found in CONFUSABLES.values() for other in found]
    assert len(others) == len(set(others))


@pytest.mark.parametrize("unit", ["\u0301", "ß", "ж", "\u1100", "ｆ", "a\u0301", "\u200d", "\u200c\u0301", "\ufdfa"])
def test_words_of_a_hundred_thousand_signs_end(unit: str) -> None:
    """Patterns that begin anew inside a run would take a quarter of an hour."""
    assert fold(f"e{unit * (100_000 // len(unit))} teh").text.endswith(" teh")


def test_no_sign_that_stays_hides_the_word_before_it() -> None:
    """As a sign that a tokenizer does not know would: it takes the whole word for an unknown one."""
    tokenizer = Tokenizer.from_file(str(ZOO / "sentiment" / "tokenizer.json"))
    signs = [chr(code) for code in range(0xA0, 0x20000) if unicodedata.category(chr(code)) in ("No", "So")]
    for sign in (*STAY, *(one for one in signs if unicodedata.normalize("NFKC", one) != one)):
        assert tokenizer.encode(fold(f"terrible{sign}").text).tokens[1] == "terrible"
