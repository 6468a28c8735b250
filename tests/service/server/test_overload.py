"""A server under too much load answers the requests that it takes, refuses the others, and goes on."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from tests.service.conftest import Server, wait_for
from tests.service.tiny import build_package

LONG = "good film " * 1_500
"""A text of more rows than may wait: another request is taken only while the last batch of this one is computed."""
CALLERS = 8
"""Callers at once: four times as many as fit, even while a second request is taken."""


@contextmanager
def flood(server: Server, *, model: str | None = None) -> Iterator[list[httpx.Response]]:
    """Callers who ask again and again; the list holds the answers."""
    stop = threading.Event()
    told: list[httpx.Response] = []

    def ask() -> None:
        with httpx.Client(base_url=server.client.base_url, timeout=60) as client:
            while not stop.is_set():
                told.append(client.post("/v1/sentiment", json={"inputs": [LONG], "model": model}))

    with ThreadPoolExecutor(CALLERS) as pool:
        asking = [pool.submit(ask) for _ in range(CALLERS)]
        try:
            yield told
        finally:
            stop.set()
            for each in asking:
                each.result(60)


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("packages")
    packages = [build_package(folder / name, name=name) for name in ("flooded", "quiet")]
    return start_server(*packages, threads=1, queued_rows=16, batch_tokens=64)


def test_callers_of_four_times_what_fits_are_answered_or_told_to_come_again(server: Server) -> None:
    with flood(server) as told:
        wait_for(lambda: len(told) >= 20 * CALLERS)
    refused = [response for response in told if response.status_code == 429]
    answered = [response for response in told if response.status_code == 200]
    assert len(refused) + len(answered) == len(told)
    assert refused
    assert answered
    assert all(int(response.headers["retry-after"]) >= 1 for response in refused)
    assert all(response.json()["results"][0]["label"] == "positive" for response in answered)
    # No row is left over: the next request finds an empty queue.
    assert "steadfast_queue_rows 0.0" in server.client.get("/metrics").text
    assert server.ask(inputs=["good"], model="flooded").status_code == 200


def test_a_flood_of_one_model_fills_no_queue_but_its_own(server: Server) -> None:
    with flood(server, model="flooded") as told:
        wait_for(lambda: {response.status_code for response in told} >= {200, 429})
        statuses = {server.ask(inputs=["great"], model="quiet").status_code for _ in range(20)}
    assert statuses == {200}
    assert {response.status_code for response in told} == {200, 429}
