"""The whole server, processes and all, while things happen to it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import psutil
import pytest

from service.cli.serving.launch import greeting
from service.settings import Settings
from service.supervision import SHORT_LIFE_S
from tests.service.conftest import ROOT, Server, free_port, steadfast, wait_for

JSON = {"Content-Type": "application/json"}
LONG = ["good film " * 1_500] * 12
"""Inputs that take some tenths of a second."""


def ask_anew(server: Server, inputs: list[str], headers: Mapping[str, str] = MappingProxyType({})) -> int:
    """The status of a request on a new connection."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("POST", "/v1/sentiment", json.dumps({"inputs": inputs}), {**JSON, **headers})
        return connection.getresponse().status


def logged(server: Server, request_id: str) -> dict[str, Any]:
    """The log line of a request, once it is written."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found.extend(line for line in server.log_lines() if line.get("request_id") == request_id)
        return bool(found)

    wait_for(look)
    return found[0]


@pytest.fixture(scope="module")
def slow(start_server: Callable[..., Server], package: Path) -> Server:
    return start_server(package, threads=1, body_timeout_s=0.5)


def test_an_answer_that_comes_too_late_is_a_504(slow: Server) -> None:
    # A reading for each word: nobody knows before how long they take. Rows beyond a batch would be refused at once.
    body = {"inputs": ["good film " * 60], "explain": "occlusion"}
    response = slow.client.post("/v1/sentiment", json=body, headers={"X-Request-Timeout-Ms": "10"})
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
    assert slow.ask(inputs=["good"]).status_code == 200


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 999\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"],
    ids=["length", "chunks"],
)
def test_a_body_that_does_not_come_is_a_408_and_the_end_of_the_connection(slow: Server, framing: bytes) -> None:
    head = b"POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", slow.port), timeout=30) as connection:
        connection.sendall(head + framing)
        said = b"".join(iter(lambda: connection.recv(4_096), b""))
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_timeout"' in said


def test_a_caller_who_leaves_is_logged_and_computed_for_no_more(slow: Server) -> None:
    body = json.dumps({"inputs": LONG}).encode()
    head = f"POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nX-Request-ID: left\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", slow.port), timeout=30) as connection:
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        time.sleep(0.05)
    assert logged(slow, "left")["status"] == 499
    assert slow.ask(inputs=["good"]).status_code == 200


def test_what_is_no_http_is_a_400(slow: Server) -> None:
    with socket.create_connection(("127.0.0.1", slow.port), timeout=30) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00 hello\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    assert slow.ask(inputs=["good"]).status_code == 200


def test_keys_are_read_again_while_requests_go_on(
    start_server: Callable[..., Server], package: Path, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text("old-key\n")
    server = start_server(package, api_keys_file=file)
    assert [ask_anew(server, ["a"]), ask_anew(server, ["a"], bearer("old-key"))] == [401, 200]
    workers = server.workers()
    body = b'{"inputs": ["a"]}'
    head = f"POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer old-key\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head.encode() + b"Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n")
        # The answer comes after the key was checked.
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        file.write_text("new-key\n")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: ask_anew(server, ["a"], bearer("new-key")) == 200)
        connection.sendall(body)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    assert ask_anew(server, ["a"], bearer("old-key")) == 401
    assert server.workers() == workers
    assert "-key" not in server.log.read_text()


def test_a_hangup_that_comes_while_the_server_starts_is_not_lost(package: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("old-key\n")
    port = free_port()
    command = [sys.executable, "-m", "service.cli", "serve", str(package), "--port", str(port)]
    command += ["--api-keys-file", str(file)]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            # It listens once its keys and packages are read, and before anything handles signals.
            wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, every_s=0.002)
            file.write_text("new-key\n")
            process.send_signal(signal.SIGHUP)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                wait_for(lambda: client.get("/v1/models", headers=bearer("new-key")).status_code == 200)
                assert client.get("/v1/models", headers=bearer("old-key")).status_code == 401
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def test_nobody_serves_others_without_keys(package: Path) -> None:
    completed = steadfast("serve", package, "--host", "0.0.0.0", "--port", "1")
    assert completed.returncode == 2
    assert completed.stderr.startswith("steadfast: others reach 0.0.0.0 and there are no keys; set STEADFAST_API_KEYS")


def test_a_pin_on_a_model_that_is_not_there_is_refused(package: Path) -> None:
    environment = {**os.environ, "STEADFAST_PINNED": "sentimnt=" + 64 * "0"}
    said = steadfast("serve", package, "--port", "1", env=environment)
    assert said.returncode == 2
    assert "no package is called sentimnt; there are: " in said.stderr


def test_the_configuration_shown_holds_no_key(package: Path) -> None:
    environment = {**os.environ, "STEADFAST_API_KEYS": "secret-one"}
    said = steadfast("serve", package, "--print-config", env=environment)
    assert "STEADFAST_PORT=3000" in said.stdout
    assert "secret-one" not in said.stdout + said.stderr


def test_every_request_taken_before_sigterm_is_answered(start_server: Callable[..., Server], package: Path) -> None:
    server = start_server(package, threads=1)
    outcomes: list[tuple[float, int | None]] = []
    stopping = threading.Event()

    def call() -> None:
        while not stopping.is_set():
            began = time.monotonic()
            try:
                status = ask_anew(server, LONG[:4])
            except (OSError, http.client.HTTPException):
                status = None
            outcomes.append((began, status))
            if status is None:
                return

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    wait_for(lambda: len(outcomes) >= 4)
    told = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=30) == 0
    stopping.set()
    for caller in callers:
        caller.join()
    before = [status for began, status in outcomes if began < told]
    assert len(before) > 4
    assert set(before) <= {200, 503}
    # Callers that came during draining were told so, or could not connect.
    assert {status for began, status in outcomes if began >= told} <= {503, None}


def _listens(process: psutil.Process, port: int) -> bool:
    return any(
        connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        for connection in process.net_connections("tcp")
    )


def test_only_those_who_answer_hold_the_socket_while_the_server_drains(
    start_server: Callable[..., Server], package: Path
) -> None:
    """Else callers would queue up on it after the last answer, until the end of the process broke their connections."""
    server = start_server(package)
    supervisor = psutil.Process(server.process.pid)
    (worker,) = supervisor.children()
    body = b'{"inputs": ["good"]}'
    head = (
        f"POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        # The go-ahead tells that the request is under way.
        assert connection.recv(4_096).startswith(b"HTTP/1.1 100 ")
        assert _listens(supervisor, server.port)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not _listens(supervisor, server.port))
        assert _listens(worker, server.port)
        connection.sendall(body)
        said = b"".join(iter(lambda: connection.recv(4_096), b""))
        # The caller is told to ask another, and the connection ends in order.
        assert said.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nconnection: close\r\n" in said
        assert b'"results"' in said
    assert server.process.wait(timeout=30) == 0


def test_what_takes_longer_than_the_drain_is_refused_and_the_server_ends(
    start_server: Callable[..., Server], package: Path
) -> None:
    server = start_server(package, threads=1, drain_s=0.1)
    responses: list[httpx.Response] = []
    caller = threading.Thread(target=lambda: responses.append(server.ask(inputs=["a " * 7_000] * 60)))
    caller.start()
    # Its rows wait for the only thread once it is under way.
    wait_for(lambda: "steadfast_queue_rows 0.0" not in server.client.get("/metrics").text, every_s=0.01)
    server.process.send_signal(signal.SIGTERM)
    caller.join()
    assert (responses[0].status_code, responses[0].json()["code"]) == (503, "draining")
    assert server.process.wait(timeout=30) == 0


def test_a_worker_that_is_killed_comes_back_and_the_other_answers_meanwhile(pair: Server) -> None:
    server = pair
    before = server.workers()
    assert len(before) == 2
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    assert [ask_anew(server, ["good"]) for _ in range(20)] == [200] * 20
    wait_for(lambda: len(server.workers() - {killed}) == 2)
    assert any(line["event"] == "worker_died" and line["exit_code"] == -9 for line in server.log_lines())
    # The worker takes no caller before its models are loaded.
    end = time.monotonic() + min(SHORT_LIFE_S, 4.0)
    statuses = set()
    while time.monotonic() < end:
        statuses.add(ask_anew(server, ["good"]))
    assert statuses == {200}


def test_names_of_files_are_those_of_the_folder_that_the_server_is_started_in(
    start_server: Callable[..., Server], package: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").symlink_to(package)
    keys = tmp_path / "keys"
    keys.write_text("old-key\n")
    server = start_server(
        Path("mine"), workers=2, threads=1, api_keys_file="keys", starter=["env", "--chdir", str(tmp_path)]
    )
    assert ask_anew(server, ["good"], bearer("old-key")) == 200
    keys.write_text("new-key\n")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: {ask_anew(server, ["good"], bearer("new-key")) for _ in range(20)} == {200})


def test_a_server_whose_starter_ignores_the_end_of_children_keeps_its_workers(
    start_server: Callable[..., Server], package: Path
) -> None:
    server = start_server(package, workers=2, threads=1, starter=["sh", "-c", "trap '' CHLD; exec \"$@\"", "sh"])
    killed = server.workers()
    for worker in killed:
        os.kill(worker, signal.SIGKILL)
    wait_for(lambda: len(server.workers() - killed) == 2)
    wait_for(lambda: server.events("ready") == 4)
    assert ask_anew(server, ["good"]) == 200
    server.process.terminate()
    assert server.process.wait(timeout=30) == 0


def test_ctrl_c_ends_the_server_well_and_says_nothing_of_a_crash(
    start_server: Callable[..., Server], package: Path
) -> None:
    server = start_server(package)
    # A terminal sends it to all processes of the server at once.
    os.killpg(server.process.pid, signal.SIGINT)
    assert server.process.wait(timeout=30) == 0
    assert {line["event"] for line in server.log_lines()} >= {"ready", "draining"}


def test_workers_end_when_their_supervisor_is_killed(start_server: Callable[..., Server], package: Path) -> None:
    server = start_server(package, workers=2, threads=1)
    workers = server.workers()
    assert len(workers) == 2
    server.process.kill()
    server.process.wait()
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def test_a_terminal_shows_where_the_server_listens(package: Path) -> None:
    port = free_port()
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "service.cli", "serve", str(package), "--port", str(port)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=theirs, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        os.close(theirs)
        said = os.read(ours, 1_000).decode()
        # Who reads this can connect from now on.
        socket.create_connection(("127.0.0.1", port)).close()
        os.killpg(process.pid, signal.SIGTERM)
    os.close(ours)
    here = f"http://127.0.0.1:{port}"
    assert said == f"listening on {here}, 1 model, a page to try them at {here}/\r\n"


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "http://0.0.0.0:3000, 2 models"), ("::1", "http://[::1]:3000, 2 models")]
)
def test_the_address_shown_is_one_to_paste(host: str, shown: str) -> None:
    assert shown in greeting(Settings(host=host), 2)


def test_a_full_disk_for_the_log_breaks_no_answer(start_server: Callable[..., Server], package: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        server = start_server(package, stderr=full)
    assert server.ask(inputs=["good"]).status_code == 200
    assert server.ask(inputs=[5]).status_code == 422
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=30) == 0


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
