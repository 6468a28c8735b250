"""Clients that others wrote, with their defaults: Java's and curl in each of its ways to ask for HTTP/2.

The programs that the guide to HTTP shows run here too.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.conftest import ROOT, Server

BODY = '{"inputs": ["the film was good"]}'

JAVA = """
import java.net.URI;
import java.net.http.*;

class Ask {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (String path : new String[] {"/v1/sentiment", "/v1/sentiment", "/nowhere"}) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0] + path))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(arguments[1])).build();
            HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.body().contains("positive"));
        }
    }
}
"""


@pytest.mark.skipif(shutil.which("java") is None, reason="needs a JDK")
def test_javas_client_is_answered_with_its_defaults(server: Server, tmp_path: Path) -> None:
    source = tmp_path / "Ask.java"
    source.write_text(JAVA)
    command = ["java", "-Xshare:auto", str(source), f"http://127.0.0.1:{server.port}", BODY]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=180)
    assert done.stdout.splitlines() == ["200 true", "200 true", "404 false"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(
    ("option", "version"),
    [("--http1.0", "1.1"), ("--http1.1", "1.1"), ("--http2", "1.1"), ("--http2-prior-knowledge", "2")],
)
def test_curl_is_answered_whatever_it_speaks(server: Server, option: str, version: str) -> None:
    url = f"http://127.0.0.1:{server.port}/v1/sentiment"
    head = ["curl", "-sS", option, "-w", "\n%{http_code} %{http_version}", "-H", "Content-Type: application/json"]
    done = subprocess.run([*head, "-d", BODY, url], capture_output=True, text=True, check=True, timeout=60)
    answer, told = done.stdout.splitlines()
    assert told == f"200 {version}"
    assert '"label":"positive"' in answer


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("option", ["--http1.1", "--http2", "--http2-prior-knowledge"])
def test_curl_gets_the_refusal_of_a_large_body(server: Server, tmp_path: Path, option: str) -> None:
    large = tmp_path / "large"
    large.write_bytes(b" " * 3_000_000)
    url = f"http://127.0.0.1:{server.port}/v1/sentiment"
    head = ["curl", "-sS", option, "-w", "\n%{http_code}", "-H", "Content-Type: application/json"]
    done = subprocess.run(
        [*head, "--data-binary", f"@{large}", url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines()[-1] == "413"
    assert '"code":"payload_too_large"' in done.stdout


PROGRAMS = {
    "python": ("ask.py", [sys.executable]),
    "js": ("ask.mjs", ["node"]),
    "java": ("Ask.java", ["java", "-Xshare:auto"]),
    "go": ("ask.go", ["go", "run"]),
}
"""By the language of a block in the guide, the file that it goes into, and what runs it."""


@pytest.mark.parametrize("language", PROGRAMS)
def test_the_programs_of_the_guide_get_answers(server: Server, tmp_path: Path, language: str) -> None:
    name, command = PROGRAMS[language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    (program,) = re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / "docs" / "http.md").read_text(), re.DOTALL | re.MULTILINE
    )
    (tmp_path / name).write_text(program.replace("localhost:3000", f"127.0.0.1:{server.port}"))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GOCACHE": str(tmp_path / "go"), "GOFLAGS": "-p=1"}
    done = subprocess.run(
        [*command, str(tmp_path / name)], capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert re.search("positive|negative", done.stdout)
