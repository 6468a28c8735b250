"""The page in a real browser: every task asked and read, by keyboard too; texts stay texts."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from export.package import MANIFEST_FILE
from models.tasks import ENDPOINTS
from service.answers.contract import result_type
from service.pages.fragment import fragment
from tests.service.conftest import Server
from tests.service.pages.parsed import parse
from tests.service.server.page.conftest import violations
from tests.service.tiny import build_package, reseal

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'&lt; "
EXTRACTIVE = "extractive-reading-comprehension"
TASKS = {endpoint: tasks[0] for endpoint, tasks in ENDPOINTS.items()}


def ask(page: Page, **texts: str) -> None:
    """Fill in the fields, ask, and wait for the answer."""
    for name, text in texts.items():
        page.fill(f"#field-{name}", text)
    page.click("#ask")
    page.wait_for_selector("#answers article")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_answered_without_a_barrier(
    zoo: Server, open_page: Callable[..., Page], task: str, scheme: str
) -> None:
    page = open_page(zoo, f"#{task}", color_scheme=scheme)
    ask(page)
    assert page.locator("#answers mark").count() > 0
    assert page.locator("#passports article svg").count() > 0
    page.locator("details").first.locator("summary").click()
    assert violations(page) == []


@pytest.mark.parametrize("task", TASKS)
def test_a_phone_shows_all_of_it_without_scrolling_sideways(
    zoo: Server, open_page: Callable[..., Page], task: str
) -> None:
    page = open_page(zoo, f"#{task}", viewport={"width": 375, "height": 700}, has_touch=True, is_mobile=True)
    ask(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert violations(page) == []
    page.locator("#answers [data-score]").first.tap()
    expect(page.locator(".at-score").first).to_have_text(re.compile(r"^.+: [+-]?\d\.\d{3}$"))


def test_the_keyboard_alone_chooses_asks_and_reads(zoo: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(zoo)
    press = page.keyboard.press
    page.locator("#tasks input").first.focus()
    press("ArrowRight")
    expect(page.locator("#tasks input:checked")).to_have_value("nli")
    page.locator("#field-premise").focus()
    press("Control+Enter")
    expect(page.locator("#answers h2")).to_be_focused()
    press("Tab")
    expect(page.locator("#answers p.text").first).to_be_focused()
    words = page.locator("#answers p.text").first.locator("[data-word]")
    readout = page.locator(".readout").first
    for key, place in (("Home", 0), ("ArrowRight", 1), ("End", -1), ("ArrowLeft", -2)):
        press(key)
        word = words.nth(place)
        expect(readout).to_have_text(f"{word.get_attribute('data-word')}: {word.get_attribute('data-score')}")


@pytest.mark.parametrize("task", TASKS)
def test_words_are_marked_as_on_other_pages(zoo: Server, open_page: Callable[..., Page], task: str) -> None:
    page = open_page(zoo, f"#{task}")
    with page.expect_response(f"**/v1/{task}") as answered:
        ask(page)
    (result,) = answered.value.json()["results"]
    (item,) = json.loads(answered.value.request.post_data or "")["inputs"]
    kind = TASKS[task]
    root, _ = parse(fragment(kind.item.model_validate(item), result_type(kind).model_validate(result)))
    marks = page.locator("#answers .texts mark")
    shown = [
        (re.sub(r" \(.*\)$", "", mark.text_content() or ""), mark.get_attribute("class"), mark.get_attribute("title"))
        for mark in marks.all()
    ]
    texts = [one for tag in ("p", "li") for one in root.find(tag, "text")]
    assert shown == [
        (mark.text(), mark.attributes["class"], mark.attributes["title"]) for one in texts for mark in one.find("mark")
    ]
    found = [one.text_content() for one in page.locator("#answers .texts .found").all()]
    assert [re.sub(r" \(.*?\)", "", one or "") for one in found] == [one.text() for one in root.find("span", "found")]


@pytest.mark.parametrize("text", ['It\'s "fine" & <b>dull</b> $HOME `x` \\ 😀\nnew line', "a plain text"])
def test_a_shell_and_python_get_the_answer_that_is_shown(
    zoo: Server, open_page: Callable[..., Page], text: str
) -> None:
    page = open_page(zoo, "#sentiment")
    page.select_option("#explain", "attention")
    with page.expect_response("**/v1/sentiment") as answered:
        ask(page, text=text)
    (shown,) = answered.value.json()["results"]
    curl, python = (page.locator(name).text_content() or "" for name in ("#curl", "#python"))
    said = [
        subprocess.run(["sh", "-c", curl], capture_output=True, check=True).stdout.decode(),
        subprocess.run([sys.executable, "-c", python], capture_output=True, check=True).stdout.decode(),
    ]
    (by_shell,) = json.loads(said[0])["results"]
    assert (by_shell["label"], by_shell["score"]) == (shown["label"], shown["score"])
    assert f"'score': {shown['score']}" in said[1]


def test_a_key_is_asked_for_and_kept_in_memory_alone(
    start_server: Callable[..., Server], package: Path, open_page: Callable[..., Page]
) -> None:
    page = open_page(start_server(package, api_keys="secret"), ready=False)
    expect(page.locator("#key")).to_be_focused()
    assert page.locator("#problem").text_content() == ""
    assert violations(page) == []
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#problem h2")).to_have_text("A key is needed")
    page.fill("#key", "secret")
    page.keyboard.press("Enter")
    page.wait_for_selector("#form:not([hidden])")
    ask(page, text="the film was great")
    assert "secret" not in page.content()
    assert "$STEADFAST_KEY" in (page.locator("#curl").text_content() or "")
    assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
    page.reload()
    expect(page.locator("#key")).to_be_focused()


def test_text_never_becomes_markup(server: Server, open_page: Callable[..., Page]) -> None:
    def spoil(route: Route) -> None:
        route.fulfill(response=(got := route.fetch()), json=_spoilt(got.json()))

    page = open_page(server)
    page.route("**/v1/**", spoil)
    page.reload()
    page.wait_for_selector("#form:not([hidden])")
    ask(page, text=HOSTILE + "good")
    assert (page.locator("#answers p.text").text_content() or "").startswith(HOSTILE[:4])
    for name in ("#answers h3", "#answers .model", "#answers .scores", "#passports h3", "#model"):
        assert HOSTILE.strip() in (page.locator(name).first.text_content() or ""), name
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1


def test_what_is_wrong_stands_beside_the_field(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(server)
    page.fill("#field-text", "  ")
    page.click("#ask")
    field = page.locator("#field-text")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    expect(page.locator("#fault-text")).not_to_be_empty()
    assert violations(page) == []
    ask(page, text="good")
    expect(page.locator("#fault-text")).to_be_empty()
    expect(page.locator("#problem")).to_be_empty()


def test_a_server_that_is_gone_is_said_to_be(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(server)
    page.route("**/v1/sentiment", lambda route: route.abort())
    page.click("#ask")
    expect(page.locator("#problem")).to_contain_text("cannot be reached")
    expect(page.locator("#ask")).to_have_text("Ask")


def test_two_models_answer_side_by_side_where_there_are_two(
    start_server: Callable[..., Server], server: Server, package: Path, tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    other = build_package(tmp_path / "other", name="other")
    reseal(other, labels=["positive", "negative"], method={"name": "asa", "settings": {}}, probes=[])
    page = open_page(start_server(package, other))
    page.select_option("#other", "other")
    ask(page, text="the film was great")
    assert [one.text_content() for one in page.locator("#answers .model").all()] == [
        "tiny (plain, fp32)",
        "other (asa, fp32)",
    ]
    expect(page.locator("#answers")).to_contain_text("The two models disagree.")
    assert page.locator("#passports article").count() == 2
    assert violations(page) == []
    expect(open_page(server).locator("#beside")).to_be_hidden()


def test_each_model_of_an_address_has_the_fields_that_it_reads(
    start_server: Callable[..., Server], made: Callable[[str], Path], open_page: Callable[..., Page]
) -> None:
    both = start_server(made("reading-comprehension") / "package", made(EXTRACTIVE) / "package")
    page = open_page(both, "#reading-comprehension")
    areas = page.locator("#fields textarea")
    shown = []
    for model in page.locator("#model option").all():
        page.select_option("#model", model.get_attribute("value"))
        names = [area.get_attribute("name") or "" for area in areas.all()]
        shown.append(names)
        # Those that read other items cannot be compared.
        expect(page.locator("#beside")).to_be_hidden()
        # Tiny models read most words letter by letter, and few letters.
        texts = {"context": "the film was good .", "question": "was it good", "choices": "good\nbad"}
        ask(page, **{name: texts[name] for name in names})
        assert violations(page) == []
    assert sorted(shown) == [["context", "question"], ["context", "question", "choices"]]


def test_an_answer_that_nobody_waits_for_is_not_shown(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(server)
    held: list[Route] = []
    page.route("**/v1/sentiment", lambda route: held.append(route))
    with page.expect_event("requestfailed"):
        page.click("#ask")
        expect(page.locator("#ask")).to_have_text("Asking…")
        page.dispatch_event("#model", "change")
    expect(page.locator("#ask")).to_have_text("Ask")
    assert page.locator("#answers article").count() == 0
    assert page.locator("#problem").text_content() == ""


def test_a_twin_is_called_so(
    start_server: Callable[..., Server], tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    folder, twin = build_package(tmp_path / "robust", name="robust"), build_package(tmp_path / "plain", name="plain")
    stated = json.loads((twin / MANIFEST_FILE).read_text())
    described = {name: stated[name] for name in ("digest", "precision", "metrics")} | {"method": "plain"}
    reseal(folder, twins=[described])
    page = open_page(start_server(folder, twin))
    assert page.locator("#other option").all_text_contents() == ["no other model", "plain (plain, fp32), the twin"]
    expect(page.locator("#passports")).to_contain_text("1.000 (plain 1.000)")


def test_a_certificate_says_whether_it_holds(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(server)
    page.select_option("#certify", "typos")
    ask(page, text="a good but boring film")
    expect(page.locator("#answers")).to_contain_text("Certificate: does not hold (typos)")
    expect(page.locator("#answers del")).to_have_text("good")
    ask(page, text="the")
    expect(page.locator("#answers")).to_contain_text("The text has no word that typos change.")


def test_what_was_corrected_is_shown(
    start_server: Callable[..., Server], tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    folder = build_package(tmp_path / "correcting")
    reseal(folder, correction="letters")
    page = open_page(start_server(folder))
    ask(page, text="😀 a gооd film")
    expect(page.locator("#answers del").first).to_contain_text("о")
    expect(page.locator("#answers ins").first).to_contain_text("o")


def _spoilt(value: Any) -> Any:
    """The same answer with markup in every text that is shown."""
    shown = {"name", "label", "labels", "base", "method", "target", "answer", "detail", "highest", "lowest", "text"}
    if isinstance(value, list):
        return [_spoilt(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: (HOSTILE + one if name != "method" or "name" in value else one)
        if name in shown and isinstance(one, str)
        else _spoilt(one)
        for name, one in value.items()
    }


AIMED = {
    "sentiment": "positive",
    "nli": "contradiction",
    "paraphrase": "paraphrase",
    "ner": "product",
}


@pytest.mark.parametrize("task", AIMED)
def test_another_answer_is_explained_than_the_one_given(zoo: Server, open_page: Callable[..., Page], task: str) -> None:
    texts = {"text": "Taylor Swift lands in Hong Kong, and the film was dull."} if task in ("sentiment", "ner") else {}
    page = open_page(zoo, f"#{task}")
    page.select_option("#explain", "decomposition")
    page.get_by_label("What speaks for").select_option(label=AIMED[task])
    with page.expect_response(f"**/v1/{task}") as answered:
        ask(page, **texts)
    asked, (result,) = json.loads(answered.value.request.post_data or ""), answered.value.json()["results"]
    assert asked["explain"] == {"method": "decomposition", "target": AIMED[task]}
    expect(page.locator(".notes mark.for")).to_have_text(f"For {AIMED[task]}")
    others = [name for name in named(result) if name != AIMED[task]]
    assert page.get_by_text(f"Words scored for: {AIMED[task]}").count() == len(others) > 0
    assert violations(page) == []


def named(result: dict[str, Any]) -> list[str]:
    return [entity["label"] for entity in result["entities"]] if "entities" in result else [result["label"]]


def test_scores_without_a_sign_are_said_to_be_the_same_for_every_label(
    zoo: Server, open_page: Callable[..., Page]
) -> None:
    page = open_page(zoo, "#sentiment")
    page.select_option("#explain", "attention")
    page.select_option("#target", label="positive")
    ask(page, text="The film was dull.")
    expect(page.locator(".part .note")).to_have_text(
        "The scores of attention do not depend on the label; they are the same for every answer."
    )


def test_a_choice_is_explained_by_its_place_by_keyboard_too(zoo: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(zoo, "#reading-comprehension")
    page.fill("#field-choices", "by bus\non foot")
    assert page.locator("#target option").all_text_contents() == ["the answer that is given", "0: by bus", "1: on foot"]
    page.locator("#target").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    with page.expect_response("**/v1/reading-comprehension") as answered:
        page.keyboard.press("Tab")
        ask(page)
    assert json.loads(answered.value.request.post_data or "")["explain"] == {"target": 1}
    assert answered.value.json()["results"][0]["explanation"]["target"] == "on foot"
    page.fill("#field-choices", "by bus")
    expect(page.locator("#aimed")).to_be_hidden()


def test_where_nothing_else_can_be_explained_nothing_is_asked(zoo: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(zoo, "#sts")
    expect(page.locator("#aimed")).to_be_hidden()
    page.locator("#tasks label", has_text="Sentiment").click()
    expect(page.locator("#aimed")).to_be_visible()
    page.select_option("#target", label="positive")
    page.select_option("#explain", "")
    expect(page.locator("#aimed")).to_be_hidden()
    with page.expect_request("**/v1/sentiment") as asked:
        ask(page)
    assert "explain" not in json.loads(asked.value.post_data or "")
