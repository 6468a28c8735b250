"""Requests as browsers, proxies and other languages write them, over real HTTP."""

import codecs
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.service.conftest import Server

BODY = json.dumps({"inputs": ["the film was good"]}).encode()
JSON = {"Content-Type": "application/json"}
PAGE = "https://example.org"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json;",
        "application/json; charset=utf8",
        'application/json;charset="UTF-8"',
        "application/json; odata.metadata=minimal",
        "application/json; profile=x ; charset = utf-8",
    ],
)
def test_json_in_utf8_is_read_however_its_type_is_written(server: Server, content_type: str) -> None:
    response = server.client.post("/v1/sentiment", content=BODY, headers={"Content-Type": content_type})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=latin-1",
        "application/json; charset=utf-8; charset=utf-16",
        "application/json, text/plain",
        "application/jsonp",
        "text/plain; application/json",
        "",
    ],
)
def test_anything_else_is_refused(server: Server, content_type: str) -> None:
    response = server.client.post("/v1/sentiment", content=BODY, headers={"Content-Type": content_type})
    assert response.json()["code"] == "unsupported_media_type"


def test_a_byte_order_mark_is_passed_over_once(server: Server) -> None:
    marked = [server.client.post("/v1/sentiment", content=mark + BODY, headers=JSON) for mark in (b"", codecs.BOM_UTF8)]
    assert marked[0].json()["results"] == marked[1].json()["results"]
    twice = server.client.post("/v1/sentiment", content=codecs.BOM_UTF8 * 2 + BODY, headers=JSON)
    assert twice.json()["code"] == "malformed_json"


def test_an_address_may_end_in_a_slash(server: Server) -> None:
    assert server.client.post("/v1/sentiment/", content=BODY, headers=JSON).status_code == 200
    assert server.client.get("/v1/models/").json() == server.client.get("/v1/models").json()
    assert server.client.get("/readyz/").status_code == 200
    assert server.client.get("/v1/models//").json()["code"] == "not_found"
    assert 'route="/v1/sentiment/"' not in server.client.get("/metrics").text


@pytest.mark.parametrize("path", ["/readyz", "/livez", "/healthz", "/v1/models", "/v1/models/sentiment", "/docs.json"])
def test_head_says_what_get_would_without_its_body(server: Server, path: str) -> None:
    # The answer to HEAD is never packed.
    plain = {"Accept-Encoding": "identity"}
    got, head = server.client.get(path, headers=plain), server.client.head(path, headers=plain)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length"):
        assert head.headers.get(name) == got.headers.get(name)
    # On the same connection: a body would be taken for the next answer.
    assert server.client.get("/livez").status_code == 200


def test_head_of_an_address_that_only_takes_posts_says_so(server: Server) -> None:
    response = server.client.head("/v1/sentiment")
    assert (response.status_code, response.content, response.headers["allow"]) == (405, b"", "POST")


@pytest.fixture(scope="module")
def for_pages(start_server: Callable[..., Server], package: Path) -> Server:
    return start_server(package, cors_origins=f"{PAGE}, http://localhost:5173", api_keys="s3cret")


def preflight(server: Server, origin: str) -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return server.client.options("/v1/sentiment", headers=headers)


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:5173"])
def test_a_page_of_an_allowed_origin_may_ask_with_a_key(for_pages: Server, origin: str) -> None:
    asked = preflight(for_pages, origin)
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, origin)
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert {"Authorization", "Content-Type"} <= set(asked.headers["access-control-allow-headers"].split(", "))

    key = {"Authorization": "Bearer s3cret", "Origin": origin}
    answer = for_pages.client.post("/v1/sentiment", content=BODY, headers=JSON | key)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
    assert answer.headers["vary"] == "Origin"
    assert "X-Request-ID" in answer.headers["access-control-expose-headers"]


def test_a_page_of_an_allowed_origin_may_read_why_it_is_refused(for_pages: Server) -> None:
    refused = for_pages.client.post("/v1/sentiment", content=BODY, headers=JSON | {"Origin": PAGE})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", PAGE + ".evil.example", "http://example.org"])
def test_a_page_of_any_other_origin_may_not(for_pages: Server, origin: str) -> None:
    key = {"Authorization": "Bearer s3cret", "Origin": origin}
    for response in (
        preflight(for_pages, origin),
        for_pages.client.post("/v1/sentiment", content=BODY, headers=JSON | key),
    ):
        assert not [name for name in response.headers if name.startswith("access-control-")]
        assert response.headers["vary"] == "Origin"


def test_no_page_may_ask_unless_a_setting_says_so(server: Server) -> None:
    asked = preflight(server, PAGE)
    assert (asked.status_code, asked.json()["code"]) == (405, "method_not_allowed")
    answer = server.client.post("/v1/sentiment", content=BODY, headers=JSON | {"Origin": PAGE})
    assert not [name for name in (*asked.headers, *answer.headers) if name.startswith("access-control-")]


def test_a_reload_takes_a_key_of_its_own(start_server: Callable[..., Server], package: Path) -> None:
    server = start_server(package, api_keys="caller", admin_keys="admin")

    def reload(key: str, path: str = "/v1/models") -> int:
        return server.client.post(path, json={"reload": True}, headers={"Authorization": f"Bearer {key}"}).status_code

    assert [reload(key) for key in ("caller", "wrong", "admin")] == [401, 401, 200]
    assert reload("caller", "/v1/models/") == 401
    listed = [
        server.client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code
        for key in ("caller", "admin")
    ]
    assert listed == [200, 401]


def test_without_admin_keys_a_request_that_was_passed_on_reloads_nothing(server: Server) -> None:
    passed_on = server.client.post("/v1/models", json={"reload": True}, headers={"X-Forwarded-For": "192.0.2.7"})
    assert (passed_on.status_code, passed_on.json()["code"]) == (401, "unauthorized")
    assert server.client.post("/v1/models", json={"reload": True}).status_code == 200


@pytest.fixture(scope="module")
def careful(start_server: Callable[..., Server], package: Path) -> Server:
    return start_server(package, max_unknown_share=0.5)


def test_a_result_says_how_much_of_the_text_the_model_has_no_word_for(server: Server) -> None:
    results = server.ask(inputs=["the film was good", "\N{SNOWMAN} good", "\N{SNOWMAN}"]).json()["results"]
    assert [result["unknown_share"] for result in results] == [0.0, 0.5, 1.0]


def test_a_server_may_abstain_from_what_it_cannot_read(careful: Server) -> None:
    refused = careful.ask(inputs=["good", "\N{SNOWMAN}"])
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_words")
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/inputs/1"]
    reported = careful.ask(inputs=["good", "\N{SNOWMAN}", "\N{SNOWMAN} bad"], on_error="report").json()
    assert [result["index"] for result in reported["results"]] == [0, 2]
    assert [(error["index"], error["code"]) for error in reported["errors"]] == [(1, "unknown_words")]
