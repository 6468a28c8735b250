"""Each key has turns of its own: whoever floods a model is refused, and nobody else."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from service.engine.errors import DeadlineUnreachable
from service.server.endpoints import errors_as_problems
from service.server.problems import Problem
from tests.service.conftest import Server, wait_for

LONG = "good film " * 1_500
CALLERS = 4


def headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], package: Path) -> Server:
    return start_server(package, threads=1, queued_rows=16, batch_tokens=64, api_keys="flooding,other")


def test_a_key_that_floods_a_model_is_refused_and_another_key_never(server: Server) -> None:
    stop = threading.Event()
    told: list[httpx.Response] = []

    def flood() -> None:
        with httpx.Client(base_url=server.client.base_url, timeout=60, headers=headers("flooding")) as client:
            while not stop.is_set():
                told.append(client.post("/v1/sentiment", json={"inputs": [LONG]}))

    def ask() -> httpx.Response:
        return server.client.post("/v1/sentiment", json={"inputs": ["great"]}, headers=headers("other"))

    with ThreadPoolExecutor(CALLERS) as pool:
        asking = [pool.submit(flood) for _ in range(CALLERS)]
        try:
            wait_for(lambda: {response.status_code for response in told} >= {200, 429})
            answers = [ask() for _ in range(30)]
        finally:
            stop.set()
            for each in asking:
                each.result(60)
    assert {response.status_code for response in answers} == {200}
    assert {response.status_code for response in told} == {200, 429}
    assert all(int(response.headers["retry-after"]) >= 1 for response in told if response.status_code == 429)


def test_work_without_hope_is_told_apart_from_a_full_queue() -> None:
    with pytest.raises(Problem, match="take 45 s; send fewer, or allow more time in X-Request-Timeout-Ms") as refused:  # noqa: SIM117
        with errors_as_problems():
            raise DeadlineUnreachable("they take 45 s; send fewer, or allow more time")
    assert (refused.value.status, refused.value.code) == (422, "deadline_unreachable")


def test_a_deadline_that_no_queue_could_meet_is_refused_for_good(server: Server) -> None:
    # One answer measures the pace.
    assert server.client.post("/v1/sentiment", json={"inputs": [LONG]}, headers=headers("other")).status_code == 200
    timeout = {"X-Request-Timeout-Ms": "5"}
    response = server.client.post("/v1/sentiment", json={"inputs": [LONG] * 64}, headers=headers("other") | timeout)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "deadline_unreachable")
    assert "to compute a body of 960,2" in problem["detail"]
    assert "or allow more time in X-Request-Timeout-Ms" in problem["detail"]
    assert "retry-after" not in response.headers


def test_a_key_whose_queue_is_full_is_refused_before_its_body_has_come(server: Server) -> None:
    """The head of a request is enough; short requests of the same key, and long ones of others, are taken."""
    stop = threading.Event()

    def flood() -> None:
        with httpx.Client(base_url=server.client.base_url, timeout=60, headers=headers("flooding")) as client:
            while not stop.is_set():
                client.post("/v1/sentiment", json={"inputs": [LONG] * 8})

    def knock(key: str) -> int:
        """The status of the answer to a head alone; 100 where the server asks for the body."""
        head = f"POST /v1/sentiment HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {key}\r\nExpect: 100-continue\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 120000\r\n\r\n".encode())
            return int(connection.recv(100).split()[1])

    with ThreadPoolExecutor(CALLERS) as pool:
        asking = [pool.submit(flood) for _ in range(CALLERS)]
        try:
            wait_for(lambda: knock("flooding") == 429)
            assert knock("other") == 100
        finally:
            stop.set()
            for each in asking:
                each.result(60)
    wait_for(lambda: knock("flooding") == 100)
