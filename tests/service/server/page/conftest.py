"""A real browser, and a server that it opens."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from export.package import open_package
from tests.service.conftest import Server

WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of a module: while one is open, nothing else may run an event loop."""
    found = next(filter(None, map(shutil.which, COMMANDS)), None)
    if found is None:
        pytest.skip(f"no browser; install one of: {', '.join(COMMANDS)}")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def zoo(start_server: Callable[..., Server], every_package: list[Path]) -> Server:
    """A server of the packages that come along, and of tiny ones at the endpoints that these leave."""
    endpoints: set[str] = set()
    chosen = []
    for folder in every_package:
        endpoint = open_package(folder).task.endpoint
        if endpoint not in endpoints:
            endpoints.add(endpoint)
            chosen.append(folder)
    return start_server(*chosen)


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """A function that opens the page of a server; afterwards nothing may have gone wrong or been loaded elsewhere."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def note(said: str, *, is_wrong: bool = True) -> None:
        if is_wrong:
            wrong.append(said)

    def open_page(server: Server, path: str = "", *, ready: bool = True, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        own = f"http://127.0.0.1:{server.port}/"
        page.on("pageerror", lambda error: note(str(error)))
        page.on("dialog", lambda dialog: note(dialog.message))
        page.on("console", lambda said: note(said.text, is_wrong="Content Security" in said.text))
        page.on("request", lambda asked: note(asked.url, is_wrong=not asked.url.startswith((own, "data:"))))
        page.goto(f"{own}{path}")
        if ready:
            page.wait_for_selector("#form:not([hidden]), #document:not([hidden])")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong by WCAG 2.1 AA and good practice."""
    found = Axe().run(page, options=WCAG).response["violations"]
    return [f"{one['id']}: {node['html']}" for one in found for node in one["nodes"]]
