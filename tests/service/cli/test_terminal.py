"""Explained answers in a terminal, with colour and without."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from models.tasks import TASKS
from service.answers.contract import Options
from service.answers.explanation import ExplainOptions
from service.answers.highlights import views_of
from service.answers.predictor import Predictor
from service.cli.terminal import SAME_FOR_ALL, show
from tests.service.conftest import steadfast
from tests.tiny import make_items

TEXT = "great but boring, the film"
COLOURS = os.environ | {"FORCE_COLOR": "1", "COLORTERM": "truecolor"}
LEGEND = "+word+ speaks for the answer, -word- against it; ++ and -- stand at the words that count most"


def predict(package: Path, *arguments: str, **options: object) -> str:
    """What `predict` prints for texts that the tiny package judges."""
    return steadfast("predict", "sentiment", *arguments, "--package", package, **options).stdout


@pytest.mark.parametrize("environment", [os.environ, COLOURS | {"NO_COLOR": "1"}], ids=["no terminal", "NO_COLOR"])
def test_without_colour_words_carry_signs_and_a_legend_says_what_they_mean(
    package: Path, environment: dict[str, str]
) -> None:
    shown = re.sub("\x1b\\[[0-9;]*m", "", predict(package, TEXT, "--explain", "decomposition", env=environment))
    lines = shown.splitlines()
    assert lines[1] == "++great++ but -boring-, the film"
    assert lines[2].startswith("decomposition for positive: great +6.00, boring -2.00, ")
    assert lines[3:] == [LEGEND]


def test_there_is_one_legend_for_several_texts_and_none_where_scores_have_no_sign(package: Path) -> None:
    assert predict(package, TEXT, "bad", "--explain", "decomposition").count(LEGEND) == 1
    shown = predict(package, TEXT, "--explain", "attention")
    assert "+" not in shown
    assert len(shown.splitlines()) == 3


def test_words_for_and_against_the_answer_have_two_colours(package: Path) -> None:
    shown = predict(package, TEXT, "--explain", "decomposition", env=COLOURS)
    found = re.findall(r"\x1b\[30;48;2;([\d;]+)m([^\x1b]+)\x1b", shown)
    by_text = {text: tuple(map(int, colour.split(";"))) for colour, text in found}
    assert by_text["great"] == by_text["speaks for the answer"]
    assert by_text["great"][2] > by_text["great"][0]
    assert by_text["boring"][0] > by_text["boring"][2]
    assert min(by_text["boring"]) > min(by_text["against it"])
    assert "film" not in by_text


def test_attention_has_one_colour(package: Path) -> None:
    shown = predict(package, TEXT, "--explain", "attention", env=COLOURS)
    colours = [tuple(map(int, found.split(";"))) for found in re.findall(r"\x1b\[30;48;2;([\d;]+)m", shown)]
    assert colours
    assert all(red >= green >= blue for red, green, blue in colours)


def explain(package: Path, *arguments: str) -> list[str]:
    """The lines that `explain` prints."""
    return steadfast("explain", "sentiment", *arguments, "--package", package).stdout.splitlines()


def test_the_legend_names_the_answer_that_is_explained_in_place_of_the_one_given(package: Path) -> None:
    for_negative = LEGEND.replace("the answer", "negative")
    assert explain(package, TEXT, "--target", "negative")[-1] == for_negative
    assert explain(package, TEXT, "bad", "--target", "negative")[-1] == for_negative
    assert explain(package, TEXT, "--target", "positive")[-1] == LEGEND


@pytest.mark.parametrize("method", ["attention", "rollout"])
def test_scores_that_do_not_depend_on_the_label_asked_for_say_so(package: Path, method: str) -> None:
    assert explain(package, TEXT, "--method", method, "--target", "negative")[-1] == f"{method} {SAME_FOR_ALL}"
    assert SAME_FOR_ALL not in explain(package, TEXT, "--method", method, "--target", "positive")[-1]


@pytest.mark.parametrize("terminal", ["xterm", "linux", "xterm-16color"])
def test_words_carry_signs_where_a_terminal_has_too_few_colours_for_shades(package: Path, terminal: str) -> None:
    plain = {name: value for name, value in os.environ.items() if name != "COLORTERM"}
    shown = predict(package, TEXT, "--explain", "decomposition", env=plain | {"FORCE_COLOR": "1", "TERM": terminal})
    assert "++great++ but -boring-, the film" in shown
    assert LEGEND in shown


def test_a_long_word_is_named_by_its_beginning(package: Path) -> None:
    shown = explain(package, "great " + 500 * "a")
    assert 500 * "a" in shown[1]
    assert f"great +6.00, {39 * 'a'}\N{HORIZONTAL ELLIPSIS} " in shown[2]


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.endpoint])
def test_the_texts_of_every_task_can_be_read(
    task: str, opened: Callable[[str], Predictor], capsys: pytest.CaptureFixture[str]
) -> None:
    predictor = opened(task)
    items = [predictor.task.item.model_validate(item) for item in make_items(task, 3)]
    results = predictor.answer(items, Options(explain=ExplainOptions(method="decomposition"))).results
    show(items, results)
    shown = capsys.readouterr().out
    assert all(line in shown for result in results for line in result.headlines())
    first = next(iter(predictor.task.columns))
    unsigned = re.sub(r"[-+\[\]]", "", shown)
    for item, result in zip(items, results, strict=True):
        text = re.sub(r"[-+\[\]]", "", getattr(item, first))
        assert unsigned.count(text) >= max(1, len(views_of(result)))
