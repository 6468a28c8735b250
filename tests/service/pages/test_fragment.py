"""Answers as HTML: the texts as they were given, never markup, and legible without colour or pointer."""

import re
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.package import Faithfulness
from models.tasks import TASKS
from models.tasks.sentiment import SENTIMENT
from models.words import split_words
from service.answers.contract import Options, result_type
from service.answers.explanation import MEANINGS, ExplainedUnit, ExplainOptions, Explanation, ExplanationMethod
from service.answers.highlights import texts_of
from service.answers.predictor import Predictor
from service.pages.fragment import CAVEAT, fragment, style
from tests.service.pages.parsed import parse
from tests.tiny import make_items

HOSTILE = "<script>alert(1)</script> \"'><img src=x onerror=alert(1)> &lt; &amp; ]]> <!-- \x00\x1b\ud800\u202e end"
OURS = "div article aside section h2 h3 p b strong code ul ol li span mark svg rect figure figcaption details summary"
TAGS = {*OURS.split(), "table", "tr", "th", "td"}
ATTRIBUTES = {
    "class",
    "start",
    "title",
    "lang",
    "dir",
    "scope",
    "viewbox",
    "preserveaspectratio",
    "aria-hidden",
    "width",
    "height",
}


def result_of(text: str, method: ExplanationMethod = "occlusion", **changes: Any) -> Any:
    """A sentiment's result whose words speak for and against it in turn."""
    scores = (2.0, -1.0, 0.01)
    items = tuple(
        ExplainedUnit(field="text", text=text[slice(*span)], start=span.start, end=span.end, score=scores[n % 3])
        for n, span in enumerate(split_words(text))
    )
    given = {"method": method, "target": "positive", "unit": "word", "rest": -0.5, "faithfulness": None, **changes}
    return result_type(SENTIMENT)(
        label="positive",
        score=0.9,
        scores=({"label": "positive", "score": 0.9}, {"label": "negative", "score": 0.1}),
        index=0,
        id=None,
        tokens=3,
        truncated=False,
        windows=1,
        unknown_share=0.0,
        certificate=None,
        explanation=Explanation(items=items, **given),
    )


def harmless(text: str) -> str:
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]", "\ufffd", text)


@given(st.text(min_size=1, max_size=80) | st.text("<>&\"'/=! \n\rab;#x0", min_size=1, max_size=40) | st.just(HOSTILE))
def test_any_text_is_shown_as_it_is_and_becomes_no_markup(text: str) -> None:
    item = SENTIMENT.item.model_construct(id=None, text=text)
    root, elements = parse(fragment(item, result_of(text)))
    (shown,) = root.find("p", "text")
    assert shown.text() == harmless(text)
    assert {element.tag for element in elements} <= TAGS
    assert {name for element in elements for name in element.attributes} <= ATTRIBUTES


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.endpoint])
def test_every_task_shows_its_texts_and_explains_each_part(task: str, opened: Callable[[str], Predictor]) -> None:
    predictor = opened(task)
    items = [predictor.task.item.model_validate(item) for item in make_items(task, 4)]
    results = predictor.answer(items, Options(explain=ExplainOptions(method="decomposition"))).results
    for item, result in zip(items, results, strict=True):
        root, _ = parse(fragment(item, result))
        given = result.explanation if isinstance(result.explanation, tuple) else (result.explanation,)
        times = max(1, len(given))
        texts = [one for tag in ("p", "li") for one in root.find(tag, "text")]
        assert sorted(one.text() for one in texts) == sorted([*texts_of(item).values()] * times)
        assert [one.text() for one in root.find("p", "rest")] == [
            f"Rest: {one.rest:+.3f} logits that no word accounts for." for one in given
        ]
        found = [one.text() for one in root.find("span", "found")]
        assert found == [dict(item)[field][slice(*span)] for field, span in result.places()]


def test_words_carry_number_sign_and_line_besides_their_colour() -> None:
    root, _ = parse(fragment(SENTIMENT.item(text="great but dull"), result_of("great but dull")))
    first, second, *_ = root.find("mark")
    assert (first.attributes["class"], first.attributes["title"]) == ("for s10 g2 end", "+2.000")
    assert (second.attributes["class"], second.attributes["title"]) == ("against s5 g1 end", "-1.000")
    assert [spoken.content for spoken in first.find("span")] == [[" (+2.000)"]]
    (plain,) = [one for one in root.find("span") if one.attributes.get("title")]
    assert (plain.text(), plain.attributes["title"]) == ("dull", "+0.010")
    assert [row.text() for row in root.find("tr")] == ["great+2.000", "but-1.000", "dull+0.010"]


def test_lines_of_a_dialogue_stay_lines() -> None:
    text = "W: good\n\nM: bad\r\nend\n"
    root, _ = parse(fragment(SENTIMENT.item(text=text), result_of(text)))
    assert [line.text() for line in root.find("span", "line")] == ["W: good\n", "\n", "M: bad\r\n", "end\n"]


def test_what_was_measured_is_said_and_what_was_not(predictor: Predictor) -> None:
    measured = Faithfulness(
        rows=200,
        comprehensiveness=0.51,
        comprehensiveness_interval=(0.4, 0.6),
        sufficiency=-0.01,
        sufficiency_interval=(-0.1, 0.1),
        random_comprehensiveness=0.09,
        random_sufficiency=0.25,
        cost=2.0,
    )
    item = SENTIMENT.item(text="good")
    shown = fragment(item, result_of("good", faithfulness=measured))
    assert "on 200 texts" in shown
    assert all(number in shown for number in ("0.510", "0.090", "-0.010", "0.250"))
    assert "was not measured" in fragment(item, result_of("good"))
    assert CAVEAT in shown
    (attended,) = predictor.answer([item], Options(explain=ExplainOptions(method="attention"))).results
    assert "neither for nor against" in fragment(item, attended)
    assert "Rest" not in fragment(item, attended)


def test_an_answer_to_another_question_than_the_one_explained_says_so() -> None:
    item = SENTIMENT.item(text="good")
    assert "Words scored for: " in fragment(item, result_of("good", target="negative"))
    assert "Words scored for: " not in fragment(item, result_of("good"))


def test_legend_and_notes_name_the_answer_that_is_explained() -> None:
    item = SENTIMENT.item(text="good")
    root, _ = parse(fragment(item, result_of("good", target="negative", method="decomposition")))
    (notes,) = root.find("aside", "notes")
    assert "adds to the logits that speak for negative, " in notes.text()
    assert [mark.text() for mark in notes.find("mark")] == ["For negative", "against it"]
    assert "For the answer" in fragment(item, result_of("good"))


def test_scores_that_do_not_depend_on_a_label_are_not_said_to_be_for_it(predictor: Predictor) -> None:
    item = SENTIMENT.item(text="good")
    for target in ("negative", "positive"):
        asked = Options(explain=ExplainOptions(method="attention", target=target))
        (result,) = predictor.answer([item], asked).results
        shown = fragment(item, result)
        assert "Words scored for" not in shown
        assert ("do not depend on the label" in shown) == (target != result.label)


def test_choices_are_counted_from_0_as_callers_count_them(opened: Callable[[str], Predictor]) -> None:
    predictor = opened("reading-comprehension")
    item = predictor.task.item(context="It rained.", question="Did it?", choices=("yes", "no"))
    (result,) = predictor.answer([item], Options(explain=ExplainOptions(method="occlusion", target=1))).results
    root, _ = parse(fragment(item, result))
    assert [choices.attributes["start"] for choices in root.find("ol")] == ["0"]
    assert {row.find("td")[0].text() for row in root.find("tr")} == {"context", "question", "choices 1"}


def test_the_rest_of_occlusion_is_said_to_mean_nothing() -> None:
    item = SENTIMENT.item(text="good")
    assert "accounts for, which has no meaning of its own." in fragment(item, result_of("good"))
    assert "meaning of its own" not in fragment(item, result_of("good", method="decomposition"))


def test_every_method_has_a_meaning() -> None:
    assert set(MEANINGS) == set(get_args(ExplanationMethod))


def test_the_style_has_every_class_and_touches_nothing_outside_fragments() -> None:
    rules = re.sub(r"/\*.*?\*/", "", style(), flags=re.DOTALL)
    selectors = [one.strip() for found in re.findall(r"([^{}@]+)\{", rules) for one in found.split(",")]
    assert all(one.startswith((".steadfast", "media")) or "scheme" in one for one in selectors)
    text = "great but dull word " * 30
    _, elements = parse(fragment(SENTIMENT.item(text=text), result_of(text)))
    used = {name for element in elements for name in element.attributes.get("class", "").split()}
    assert {f".{name}" for name in used - {"part"}} <= set(re.findall(r"\.[a-z]+\d*", rules))
    assert {f".s{step}" for step in range(1, 11)} <= set(re.findall(r"\.s\d+", rules))
