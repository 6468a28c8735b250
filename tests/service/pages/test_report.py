"""The report of a run: whole, harmless, legible without colour, and every plot with its numbers."""

import re
from collections.abc import Callable

import pytest

from models.tasks import TASKS
from service.answers.predictor import Predictor
from service.outcomes.columns import WantedColumns
from service.pages.report import report
from tests.service.outcomes.test_summary import ITEMS, outcomes_of, summarize
from tests.service.pages.parsed import Element, parse
from tests.tiny import make_items

HOSTILE = "<script>alert(1)</script>&\"'"


@pytest.fixture
def page(predictor: Predictor) -> Element:
    found = summarize(predictor, outcomes_of(predictor, ITEMS, WantedColumns(min_confidence=0.9)))
    return parse(report(found, source=HOSTILE).removeprefix("<!DOCTYPE html>\n"))[0]


def test_a_name_never_becomes_markup(page: Element) -> None:
    assert page.find("script") == []
    assert HOSTILE in page.find("header")[0].text()


def test_nothing_is_loaded_from_elsewhere(predictor: Predictor) -> None:
    markup = report(summarize(predictor, outcomes_of(predictor, ITEMS, WantedColumns())), source="in.csv")
    assert not re.search(r"https?:|url\(|@import|src=|href=", markup)
    assert "default-src 'none'" in markup


def test_the_first_numbers_are_those_of_the_summary(page: Element) -> None:
    shown = {one.find("dt")[0].text(): one.find("b")[0].text() for one in page.find("div") if one.find("dt")}
    assert (shown["answered"], shown["without an answer"], shown["in several windows"]) == ("4", "3", "1")


def test_every_plot_has_its_numbers_in_a_table_and_in_words(page: Element) -> None:
    plots = [section for section in page.find("section") if section.find("svg", "plot")]
    assert [section.find("h2")[0].text() for section in plots] == [
        "How sure the answers are",
        "How long the records are",
        "What the model has no word for",
    ]
    for section in plots:
        counts = [int(row.find("td")[0].text()) for row in section.find("tbody")[0].find("tr")]
        bars = [bar.find("title")[0].text().rpartition(": ")[2] for bar in section.find("rect")]
        assert sum(counts) == 4
        assert bars == [str(count) for count in counts if count]
        assert "median" in section.find("svg", "plot")[0].attributes["aria-label"]


def test_failures_say_their_first_record_and_what_was_said(page: Element) -> None:
    rows = page.find("table", "failures")[0].find("tbody")[0].find("tr")
    assert [[cell.text() for cell in row.content if isinstance(cell, Element)][:3] for row in rows] == [
        ["empty_input", "2", "3"],
        ["unreadable_record", "1", "4"],
    ]


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.endpoint])
def test_every_task_has_a_page(task: str, opened: Callable[[str], Predictor]) -> None:
    predictor = opened(task)
    items = [predictor.task.item.model_validate(item) for item in make_items(task, 6)]
    found = summarize(predictor, outcomes_of(predictor, items, WantedColumns()))
    root, _ = parse(report(found, source="in.csv").removeprefix("<!DOCTYPE html>\n"))
    headings = [heading.text() for heading in root.find("h2")]
    assert ("How alike the texts are" in headings) == (task == "sts")
    assert "Failures" in headings


def test_no_records_have_a_page_too(predictor: Predictor) -> None:
    assert "0 records" in report(summarize(predictor, []), source="in.csv")
