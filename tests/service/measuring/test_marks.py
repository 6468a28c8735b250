"""Agreement with the words that people marked, by the tiny package, whose attention looks at its opinions."""

from collections.abc import Callable
from pathlib import Path

import pytest

from export.package import open_package
from models.measuring.faithfulness import average_precision
from models.measuring.rationales import MarkedText
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import Pool
from service.measuring.explained import RANDOM
from service.measuring.marks import NoSentiment, measure_marks


def _quiet(name: str, done: int, total: int) -> None:
    del name, done, total


def _marked(text: str, *words: str) -> MarkedText:
    tokens = tuple(text.split())
    return MarkedText(tokens, frozenset(place for place, token in enumerate(tokens) if token in words))


def test_attention_that_looks_at_the_marked_words_is_precise(predictor: Predictor) -> None:
    texts = [_marked("the film was great", "great"), _marked("boring and not good , the film", "boring", "good")]
    found = measure_marks(predictor, texts, "marks", _quiet)
    assert list(found) == [*predictor.explanations, RANDOM]
    assert found["attention"].average_precision.mean == 1.0
    assert found["attention"].rows == 2
    assert found[RANDOM].average_precision.mean < 1.0


def test_words_that_score_low_are_imprecise(predictor: Predictor) -> None:
    (text,) = [_marked("the film was great", "the")]
    found = measure_marks(predictor, [text], "marks", _quiet)
    # "the", "film" and "was" tie, and "great" is ahead of them.
    assert found["attention"].average_precision.mean == pytest.approx(1 / 4)


def test_a_token_of_several_words_has_the_sum_of_their_scores(predictor: Predictor) -> None:
    text = _marked("the film was great!!great !", "great!!great")
    found = measure_marks(predictor, [text], "marks", _quiet)
    assert found["attention"].average_precision.mean == average_precision([0.1, 0.1, 0.1, 0.6, 0.1], {3}) == 1.0


def test_scores_without_signs_have_no_right_signs(predictor: Predictor) -> None:
    text = MarkedText(("good", "film"), frozenset({0}), (2, 0))
    found = measure_marks(predictor, [text], "marks", _quiet)["attention"]
    assert (found.strong_signs, found.weak_signs) == (None, None)


def test_signs_are_right_where_leaving_a_word_out_moves_the_answer_away_from_its_own(predictor: Predictor) -> None:
    tokens = ("great", "film", "but", "a", "bit", "bad")
    right = MarkedText(tokens, frozenset({0, 5}), (2, 0, 0, 0, 0, -1))
    wrong = MarkedText(("awful", "not"), frozenset({0, 1}), (2, 1))
    found = measure_marks(predictor, [right, wrong], "marks", _quiet)["occlusion"]
    # "not" says next to nothing, in favour of positive.
    assert (found.strong_signs, found.weak_signs) == (1 / 2, 1.0)


def test_a_package_for_another_task_is_refused(made: Callable[[str], Path]) -> None:
    package, texts = open_package(made("nli") / "package"), [_marked("good film", "good")]
    with (
        Pool(1) as pool,
        Predictor(package, EngineLimits(), pool) as predictor,
        pytest.raises(NoSentiment, match="need a package for sentiment"),
    ):
        measure_marks(predictor, texts, "marks", _quiet)
