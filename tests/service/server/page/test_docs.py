"""The viewer of the OpenAPI document in a real browser: every address and schema, with examples that can be asked."""

import json
import subprocess
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from models.tasks import ENDPOINTS
from service.server.openapi import describe_api
from tests.service.conftest import Server
from tests.service.server.page.conftest import violations

DOCUMENT = describe_api(64)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_address_and_schema_is_shown_without_a_barrier(
    server: Server, open_page: Callable[..., Page], scheme: str
) -> None:
    page = open_page(server, "docs", color_scheme=scheme)
    operations = [f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods]
    assert page.locator("#operations > details > summary").all_text_contents() == operations
    assert page.locator("#schemas > details > summary").all_text_contents() == sorted(DOCUMENT["components"]["schemas"])
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for link in set(page.locator("#document a").evaluate_all("(all) => all.map((one) => one.getAttribute('href'))")):
        is_task = link.removeprefix("./#") in ENDPOINTS
        assert is_task or page.locator(f"[id='{link.removeprefix('#')}']").count() == 1, link
    assert violations(page) == []


def test_a_phone_shows_all_of_it_without_scrolling_sideways(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(server, "docs", viewport={"width": 375, "height": 700}, is_mobile=True)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == 375


@pytest.mark.parametrize("task", ENDPOINTS)
def test_examples_of_every_task_can_be_asked_as_they_stand(
    zoo: Server, open_page: Callable[..., Page], task: str
) -> None:
    page = open_page(zoo, f"docs#{task}")
    expect(page.locator(f"#{task}")).to_have_attribute("open", "")
    example = page.locator(f"#{task} .example").first
    example.locator("summary").click()
    line = example.locator("pre").nth(1).text_content() or ""
    said = subprocess.run(["sh", "-c", line], capture_output=True, check=True).stdout
    assert len(json.loads(said)["results"]) == 1
    example.locator("a").click()
    expect(page.locator("#tasks input:checked")).to_have_value(task)


def test_a_search_leaves_what_has_its_words(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(server, "docs")
    page.fill("#search", "premise hypothesis")
    expect(page.locator("#operations > details:visible > summary")).to_have_text(["POST /v1/nli"])
    page.fill("#search", "")
    assert page.locator("#operations > details:visible").count() > 6


def test_a_slash_at_the_end_leads_to_the_same_page(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page(server, "docs/")
    assert page.url == f"http://127.0.0.1:{server.port}/docs"
