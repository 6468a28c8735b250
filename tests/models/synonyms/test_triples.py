"""Copies of a text that mean the same and the opposite: what may change, how much of it, and that nothing else does."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from models.synonyms.tagging import Tag
from models.synonyms.triples import (
    AS_RELEASED,
    REFINED,
    Construction,
    Copy,
    Relation,
    TripleMaker,
    Word,
    WordSource,
    make_triples,
)
from models.synonyms.wordnet import WordNet
from tests.tiny import WORDNET

EXTRACT = WORDNET
TEXTS = (
    "The fictional story, written by happy people, isn't  dull.",
    "A very good film's plot: they write slowly and the dog barks loudly!",
    "bad",
    "It was 3.14 ... \u2764",
    "He does n't have it \u2014 she'll make it \u2019s.  ",
)
CONSTRUCTIONS = pytest.mark.parametrize("construction", [REFINED, AS_RELEASED], ids=["refined", "as released"])


def _source(*, refined: bool) -> WordSource:
    return WordSource(WordNet(EXTRACT), refined=refined, nouns=("table", "chair"))


REFINED_SOURCE, RELEASED_SOURCE = _source(refined=True), _source(refined=False)


def _maker(construction: Construction) -> TripleMaker:
    return TripleMaker(REFINED_SOURCE if construction.refined else RELEASED_SOURCE, construction)


def _text(copy: Copy) -> str:
    return "".join(piece.text for piece in copy)


def _untouched(text: str) -> Copy:
    """The pieces of a text with nothing replaced."""
    return _maker(Construction(synonymous_share=0.0, opposite_share=0.0, refined=True)).make(text, "any").synonymous


WRITTEN = Word("written", "write", "VBN", "VERB")
STORIES = Word("stories", "story", "NNS", "NOUN")
FICTIONAL = Word("fictional", "fictional", "JJ", "ADJ")
UNSATISFYING = Word("unsatisfying", "unsatisfying", "JJ", "ADJ")


@pytest.mark.parametrize(
    ("word", "kind", "expected"),
    [
        (FICTIONAL, "synonym", {"fabricated", "fancied", "fictitious"}),
        (FICTIONAL, "antonym", {"nonfictional"}),
        (FICTIONAL, "hypernym", set()),
        (FICTIONAL, "inflection", {"fictionaler", "fictionalest"}),
        (FICTIONAL, "random", {"table", "chair"}),
        (UNSATISFYING, "antonym", set()),
        (STORIES, "inflection", {"story"}),
        (Word("Created", "create", "VBD", "VERB"), "inflection", {"create", "creates", "creating"}),
        (Word("increased", "increase", "VBD", "VERB"), "hypernym", {"change", "alter", "modify", "change magnitude"}),
        (Word("increased", "increase", "VBD", "VERB"), "antonym", {"decrease"}),
        (Word("bad", "bad", "JJ", "ADJ"), "antonym", {"good", "unregretful"}),
        (Word("joy", "joy", "NN", "NOUN"), "synonym", {"joyousness", "joyfulness", "delight", "pleasure"}),
    ],
)
def test_candidates_as_released(word: Word, kind: Relation, expected: set[str]) -> None:
    assert set(RELEASED_SOURCE.candidates(word, kind)) == expected


@pytest.mark.parametrize(
    ("word", "kind", "expected"),
    [
        (FICTIONAL, "inflection", set()),
        (UNSATISFYING, "antonym", {"satisfactory"}),
        (STORIES, "inflection", {"story"}),
        (Word("Created", "create", "VBD", "VERB"), "inflection", {"create", "creates", "creating"}),
        (
            Word("increased", "increase", "VBD", "VERB"),
            "hypernym",
            {"changed", "altered", "modified", "changed magnitude"},
        ),
        (Word("bad", "bad", "JJ", "ADJ"), "antonym", {"good"}),
        (Word("falls", "fall", "NNS", "NOUN"), "antonym", {"rises"}),
    ],
)
def test_refined_candidates_are_in_the_words_own_form_and_its_own_opposites_come_first(
    word: Word, kind: Relation, expected: set[str]
) -> None:
    assert set(REFINED_SOURCE.candidates(word, kind)) == expected


def test_refined_random_words_are_of_the_same_class_frequent_and_no_synonyms() -> None:
    drawn = REFINED_SOURCE.candidates(Word("film", "film", "NN", "NOUN"), "random")
    assert set(drawn) == set(WordNet(EXTRACT).frequent_words("NOUN")) - WordNet(EXTRACT).synonyms("film", "NOUN")
    assert "movie" not in drawn
    assert "dog" in drawn


def test_words_with_capitals_stand_only_for_words_with_one() -> None:
    lower, capital = (
        REFINED_SOURCE.candidates(Word(text, "water", "NN", "NOUN"), "hypernym") for text in ("water", "Water")
    )
    assert all(name == name.lower() for name in lower)
    assert set(lower) <= set(capital)
    fall = Word("Fall", "fall", "NN", "NOUN")
    assert "Fall" in {name.capitalize() for name in WordNet(EXTRACT).synonyms("fall", "NOUN")}
    assert "Fall of Man" not in REFINED_SOURCE.candidates(Word("fall", "fall", "NN", "NOUN"), "synonym")
    assert REFINED_SOURCE.candidates(fall, "synonym")


@CONSTRUCTIONS
@pytest.mark.parametrize("kind", ["synonym", "hypernym", "inflection", "antonym", "random"])
def test_candidates_are_sorted_so_that_draws_repeat(construction: Construction, kind: Relation) -> None:
    source = REFINED_SOURCE if construction.refined else RELEASED_SOURCE
    for word in (WRITTEN, STORIES, FICTIONAL):
        found = source.candidates(word, kind)
        assert list(found) == sorted(set(found))


@CONSTRUCTIONS
def test_only_nouns_verbs_adjectives_and_adverbs_change(construction: Construction) -> None:
    for text in TEXTS:
        untouched = _untouched(text)
        for number in range(30):
            triple = _maker(construction).make(text, str(number))
            for copy in (triple.synonymous, triple.opposite):
                assert [piece.is_candidate for piece in copy] == [piece.is_candidate for piece in untouched]
                for piece, own in zip(copy, untouched, strict=True):
                    assert piece.is_replaced == (piece.text != own.text)
                    assert piece.is_candidate or not piece.is_replaced
                    assert not piece.is_replaced or piece.text.lower() != own.text.lower()


def test_candidates_are_the_words_of_those_classes_alone() -> None:
    words = [[piece.text.strip() for piece in _untouched(text) if piece.is_candidate] for text in TEXTS]
    assert words == [
        ["fictional", "story", "written", "happy", "people", "dull"],
        ["very", "good", "film", "plot", "write", "slowly", "dog", "barks", "loudly"],
        ["bad"],
        [],
        ["make"],
    ]


def test_with_nothing_replaced_the_pieces_are_the_text() -> None:
    for text in TEXTS:
        assert _text(_untouched(text)) == text


@CONSTRUCTIONS
def test_putting_the_replaced_words_back_gives_the_text(construction: Construction) -> None:
    for text in TEXTS:
        triple = _maker(construction).make(text, "7")
        for copy in (triple.synonymous, triple.opposite):
            back = (own if piece.is_replaced else piece for piece, own in zip(copy, _untouched(text), strict=True))
            assert "".join(piece.text for piece in back) == text


@CONSTRUCTIONS
def test_no_more_than_the_share_of_all_words_is_replaced(construction: Construction) -> None:
    text, words = TEXTS[1], 16  # A very good film 's plot : they write slowly and the dog barks loudly !
    counts: dict[str, set[int]] = {"synonymous": set(), "opposite": set()}
    for number in range(60):
        triple = _maker(construction).make(text, str(number))
        for name, found in counts.items():
            found.add(sum(piece.is_replaced for piece in getattr(triple, name)))
    assert max(counts["synonymous"]) <= int(words * construction.synonymous_share)
    assert max(counts["opposite"]) == int(words * construction.opposite_share)


def test_a_text_too_short_for_a_share_stays_as_it_is() -> None:
    triple = _maker(REFINED).make("bad", "1")
    assert _text(triple.synonymous) == _text(triple.opposite) == "bad"


def test_each_kind_is_tried_as_often_as_it_should_be() -> None:
    """Antonyms in half of the opposite copies; hypernyms, synonyms and inflections in a third each of the others."""
    text = "they increased it and it was increased"
    kinds = {"antonym": {"decrease"}, "hypernym": {"change", "alter", "modify", "change magnitude"}}
    found: Counter[str] = Counter()
    for number in range(600):
        triple = _maker(AS_RELEASED).make(text, str(number))
        for kind, words in kinds.items():
            copies = triple.opposite if kind == "antonym" else triple.synonymous
            found[kind] += any(piece.is_replaced and piece.text.strip() in words for piece in copies)
    # Four standard errors of 600 draws.
    assert abs(found["antonym"] / 600 - 1 / 2) < 0.082
    assert abs(found["hypernym"] / 600 - 1 / 3) < 0.077


def test_the_same_key_gives_the_same_triple_in_any_order() -> None:
    maker, again = _maker(REFINED), TripleMaker(_source(refined=True), REFINED)
    keys = [(text, str(number)) for text in TEXTS for number in range(5)]
    assert [maker.make(*key) for key in keys] == [again.make(*key) for key in reversed(keys)][::-1]
    assert len({maker.make(TEXTS[0], str(number)) for number in range(20)}) > 10


def test_triples_do_not_depend_on_the_order_of_sets() -> None:
    program = (
        "import tests.models.synonyms.test_triples as here\n"
        "for one in (here.REFINED, here.AS_RELEASED):\n"
        "    print([here._maker(one).make(text, str(number)) for text in here.TEXTS for number in range(9)])\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[3])},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert outputs[0] == outputs[1] != ""


class _NothingButVerbs:
    def tag(self, words: Sequence[str]) -> list[Tag]:
        return [Tag("VB", "VERB") for _ in words]


def test_another_tagger_can_take_the_place_of_the_default() -> None:
    pieces = TripleMaker(REFINED_SOURCE, REFINED, _NothingButVerbs()).make("dogs when", "1").synonymous
    assert [piece.is_candidate for piece in pieces] == [True, True]


def test_a_file_gives_the_nouns_that_the_released_code_draws_from(tmp_path: Path) -> None:
    (tmp_path / "nouns").write_text("lamp\n\nlamp\n")
    maker = make_triples(EXTRACT, AS_RELEASED, tmp_path / "nouns")
    drawn = {
        piece.text for number in range(40) for piece in maker.make("a dog", str(number)).opposite if piece.is_replaced
    }
    assert drawn == {" lamp"}
