"""`steadfast health` against servers that are ready, that are not, and that are none."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.address import BadAddress, reachable_url
from service.health import NotReady, check_ready, plain_request
from service.settings import Settings
from tests.service.conftest import ROOT, Server, free_port, steadfast
from tests.service.tiny import reseal

ASK = """
import sys
before = set(sys.modules)
sys.argv[1:] = ["health", "--url", "http://127.0.0.1:PORT"]
from service.cli import main
try:
    main()
except SystemExit as error:
    new = {name.partition(".")[0] for name in set(sys.modules) - before}
    print(error.code, sorted(new - sys.stdlib_module_names), file=sys.stderr)
"""


@pytest.fixture
def stranger() -> Iterator[str]:
    """The URL of a server that is not ours: it knows no `/readyz`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    with HTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listener.server_port}"
        listener.shutdown()
        thread.join()


def health(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STEADFAST_")}
    return steadfast("health", *arguments, env=inherited | environment)


def test_a_server_that_is_ready_gives_0(server: Server) -> None:
    asked = health("--url", f"http://127.0.0.1:{server.port}/")
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, f"http://127.0.0.1:{server.port}/ is ready\n", "")


def test_the_address_is_the_one_that_the_servers_variables_name(server: Server) -> None:
    assert health(STEADFAST_PORT=str(server.port), STEADFAST_HOST="0.0.0.0").returncode == 0
    assert health(steadfast_port=str(server.port)).returncode == 0


def test_a_server_whose_models_are_not_ready_gives_1_and_the_reason(
    start_server: Callable[..., Server], package: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "strange"
    folder.mkdir()
    for file in package.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    probe = json.loads((folder / "package.json").read_bytes())["probes"][0]
    probe["outputs"]["logits"][0][0] += 5
    reseal(folder, probes=[probe])
    server = start_server(folder, ready=False)
    asked = health("--url", f"http://127.0.0.1:{server.port}")
    assert asked.returncode == 1
    assert asked.stderr.startswith(f"steadfast: http://127.0.0.1:{server.port}: not ready (503): ")
    assert asked.stderr.count("\n") == 1


def test_no_server_gives_1_and_says_what_to_do() -> None:
    port = free_port()
    asked = health(STEADFAST_PORT=str(port))
    assert (asked.returncode, asked.stderr) == (
        1,
        f"steadfast: http://127.0.0.1:{port}: no answer (Connection refused); start the server, or name another by "
        "--url\n",
    )


def test_a_server_of_another_kind_is_not_ready(stranger: str) -> None:
    with pytest.raises(NotReady, match=r"not ready \(404\): the answer is none of Steadfast's; name its server by"):
        check_ready(stranger)


@pytest.mark.parametrize("url", ["127.0.0.1:3000", "ftp://127.0.0.1", "http://", "http://[::1", "http://a:b"])
def test_what_is_no_url_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(NotReady, match=r"name (one|a URL) such as http://127\.0\.0\.1:3000"):
        check_ready(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a b", "http://127.0.0.1:1/\N{SNOWMAN}", f"http://{'a' * 70}:1"])
def test_a_url_that_cannot_be_asked_is_named(url: str) -> None:
    with pytest.raises(NotReady, match="no answer"):
        check_ready(url)


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, "http://127.0.0.1:3000"),
        ({"STEADFAST_HOST": "0.0.0.0", "STEADFAST_PORT": "8000"}, "http://127.0.0.1:8000"),
        ({"STEADFAST_HOST": "::"}, "http://[::1]:3000"),
        ({"STEADFAST_HOST": "fe80::1"}, "http://[fe80::1]:3000"),
        ({"STEADFAST_HOST": "10.0.0.7"}, "http://10.0.0.7:3000"),
    ],
)
def test_a_server_is_reached_where_it_listens(environment: dict[str, str], url: str) -> None:
    assert reachable_url(environment) == url


@pytest.mark.parametrize(("name", "value"), [("HOST", "localhost"), ("PORT", "many"), ("PORT", "0"), ("PORT", "70000")])
def test_an_address_that_the_settings_refuse_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"STEADFAST_{name}", value)
    with pytest.raises(ValidationError):
        Settings()
    with pytest.raises(BadAddress, match=f"STEADFAST_{name}"):
        reachable_url(os.environ)


def test_no_library_is_imported_to_ask(server: Server) -> None:
    asked = subprocess.run(
        [sys.executable, "-c", ASK.replace("PORT", str(server.port))],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert asked.stderr == "0 ['models', 'service']\n"


def test_other_forms_of_the_command_mean_the_same(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}"
    assert plain_request(["health", f"--url={url}"]) is None
    plain, other = health("--url", url), health(f"--url={url}")
    assert (plain.returncode, plain.stdout) == (other.returncode, other.stdout) == (0, f"{url} is ready\n")
    assert "--url" in health("--help").stdout
