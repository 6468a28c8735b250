"""The files of the pages: whole, harmless and cheap to ask for again."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from service.server.page.files import FOLDER, read_files
from tests.service.conftest import Server

FILES = read_files()
SCRIPTS = sorted(path for path in FOLDER.iterdir() if path.suffix == ".js")


@pytest.mark.parametrize("address", FILES)
def test_a_file_comes_under_a_policy_that_lets_nothing_else_in(server: Server, address: str) -> None:
    response = server.client.get(address)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert not re.search("unsafe|https?:|\\*", " ".join(policy))
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("address", FILES)
def test_no_file_names_an_address_elsewhere(address: str) -> None:
    found = set(re.findall(rb"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", FILES[address].body))
    # The name of SVG's elements is no address that anything is loaded from.
    assert found <= {b"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.name))
def test_no_script_makes_markup_of_a_text_or_keeps_anything(script: Path) -> None:
    text = script.read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)
    assert not re.search(r"localStorage|sessionStorage|indexedDB|cookie", text)
    assert len(text.splitlines()) <= 250


def test_what_a_file_names_is_there() -> None:
    for address, file in FILES.items():
        text = file.body.decode()
        own = re.findall(r'(?:src|href)="([^":]+)"', text) if file.media_type == "text/html" else []
        imported = [f"page/{name}" for name in re.findall(r'from "\./([^"]+)"', text)]
        assert {f"/{name.removeprefix('./')}" for name in (*own, *imported)} <= FILES.keys(), address


def test_a_browser_that_has_a_file_gets_it_only_once(server: Server) -> None:
    for accepted in ("identity", "gzip"):
        first = server.client.get("/page/app.js", headers={"Accept-Encoding": accepted})
        again = server.client.get("/page/app.js", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert server.client.get("/page/app.js", headers={"If-None-Match": 'W/"other"'}).status_code == 200


def test_head_says_what_get_would(server: Server) -> None:
    got = server.client.get("/", headers={"Accept-Encoding": "identity"})
    head = server.client.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


def test_files_are_counted_as_one_address(server: Server) -> None:
    server.client.get("/page/app.js")
    assert server.client.get("/page/no-such-file.js").json()["code"] == "not_found"
    routes = set(
        re.findall(r'steadfast_requests_total\{code="\d+",route="([^"]+)"', server.client.get("/metrics").text)
    )
    assert {route for route in routes if route.startswith("/page")} == {"/page/{name}"}


def test_the_page_needs_no_key_but_its_requests_do(start_server: Callable[..., Server], package: Path) -> None:
    keyed = start_server(package, api_keys="secret").client
    assert keyed.get("/").status_code == keyed.get("/page/app.js").status_code == 200
    answers = [keyed.get("/openapi.json"), keyed.get("/v1/models"), keyed.get("/page/no-such-file.js")]
    assert [answer.status_code for answer in answers] == [401, 401, 401]


def test_without_the_page_nothing_is_at_its_addresses(start_server: Callable[..., Server], package: Path) -> None:
    client = start_server(package, page="false").client
    assert {client.get(address).json()["code"] for address in FILES} == {"not_found"}
    assert client.get("/openapi.json").status_code == 200
