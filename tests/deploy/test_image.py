"""The images, built and run.

`STEADFAST_TEST_IMAGES=1 pytest -s tests/deploy/test_image.py` prints what docs/deploy.md shows.
"""

import http.client
import importlib.metadata
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from service.supervision import STOPPING_S
from tests.deploy.images import (
    BUILT,
    GROUP,
    USER,
    WANTED,
    Image,
    build,
    make_bases,
    megabytes,
    mounted,
    skip_unless_possible,
)

MOST_SERVE_MB = 400
KEY, LATER_KEY = "k3y-for-the-shop", "k3y-for-the-app"
CALLERS = 16
BEFORE_THE_SIGNAL = 300
"""Answers that callers get before the server is told to stop."""
WAIT_S = 60.0

PROBLEMS = {
    "sentiment": ({"text": "A joy from start to end."}, "positive"),
    "nli": ({"premise": "It rained all day.", "hypothesis": "The sun shone."}, "contradiction"),
    "sts": ({"text_a": "A man eats.", "text_b": "A man is eating."}, None),
    "paraphrase": ({"text_a": "How old are you?", "text_b": "What is your age?"}, None),
    "ner": ({"text": "Taylor Swift lands in Hong Kong on Monday."}, None),
    "reading-comprehension": (
        {"context": "Taylor Swift lands in Hong Kong.", "question": "Who lands?", "choices": ["Taylor", "nobody"]},
        None,
    ),
}
"""An input for each of the six models, and the label of its answer where it has one."""


@pytest.fixture(scope="module")
def images() -> Iterator[dict[str, Image]]:
    """The three targets, built and mounted."""
    skip_unless_possible("buildah", "bwrap", "setpriv", "debootstrap")
    if os.environ[WANTED] != BUILT:
        make_bases()
        for target in ("serve", "batch", "zoo"):
            build(target)
    with mounted("serve") as serve, mounted("batch") as batch, mounted("zoo") as zoo:
        yield {"serve": serve, "batch": batch, "zoo": zoo}


def say(line: str) -> None:
    """Show a line that was measured, where pytest shows what tests print."""
    sys.stdout.write(f"{line}\n")


def _site(image: Image) -> Path:
    (folder,) = (image.root / "opt/steadfast/lib").glob("python3.*/site-packages")
    return folder


def test_the_images_are_small(images: dict[str, Image]) -> None:
    for target, image in images.items():
        whole, ours, packages = megabytes(image.root), megabytes(image.root / "opt"), megabytes(image.root / "packages")
        base = whole - ours - packages
        say(f"{target:6}{whole:4.0f} MB: base {base:.0f}, Python packages {ours:.0f}, model packages {packages:.0f}")
    sizes = {
        name.name: megabytes(*(_site(images["batch"]) / file for file in _tops(name)))
        for name in importlib.metadata.distributions(path=[str(_site(images["batch"]))])
    }
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:12]
    say("Python packages: " + ", ".join(f"{name} {size:.0f}" for name, size in largest))
    assert megabytes(images["serve"].root) <= MOST_SERVE_MB


def _tops(distribution: importlib.metadata.Distribution) -> set[str]:
    """The files and folders at the top of site-packages that a distribution installed."""
    return {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}


@pytest.mark.parametrize("target", ["serve", "batch", "zoo"])
def test_nothing_is_left_that_only_a_build_needs(images: dict[str, Image], target: str) -> None:
    root = images[target].root
    programs = {
        file.name for folder in ("usr/bin", "usr/local/bin", "opt/steadfast/bin") for file in (root / folder).glob("*")
    }
    assert not programs & {"pip", "pip3", "gcc", "cc", "g++", "make", "uv"}
    assert not [path for path in (root / "opt").rglob("*") if path.name in ("pip", "setuptools", "hatchling")]
    assert not list((root / "root").rglob("*cache*"))
    raised = [
        path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o6000
    ]
    assert not raised
    sources = list((root / "opt").rglob("*.py"))
    compiled = {path.name.partition(".")[0] for path in (root / "opt").rglob("*.pyc")}
    assert {path.stem.partition(".")[0] for path in sources} <= compiled


@pytest.mark.parametrize("target", ["serve", "batch", "zoo"])
def test_every_file_can_be_read_by_any_user(images: dict[str, Image], target: str) -> None:
    for folder in ("opt", "packages"):
        for path in (images[target].root / folder).rglob("*"):
            mode = path.lstat().st_mode
            assert mode & (stat.S_IROTH if not path.is_dir() else stat.S_IXOTH), path
            assert path.is_symlink() or not mode & stat.S_IWOTH, path


def test_the_configuration_is_what_the_containerfile_says(images: dict[str, Image]) -> None:
    config = images["zoo"].config
    assert config["Healthcheck"]["Test"] == ["CMD", "steadfast", "health"]
    assert config["StopSignal"] in ("SIGTERM", "15")
    assert list(config["ExposedPorts"]) == ["3000/tcp"]
    assert config["Entrypoint"] == ["steadfast", "serve"]
    assert config["User"].endswith(f":{GROUP}")
    assert config["Labels"]["org.opencontainers.image.version"] == importlib.metadata.version("steadfast")


def test_without_keys_it_says_what_to_set(images: dict[str, Image]) -> None:
    with images["zoo"].started(variables={}, mounts={}) as (process, _):
        said, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 2
    assert b"there are no keys; set STEADFAST_API_KEYS or STEADFAST_API_KEYS_FILE, or STEADFAST_OPEN_TO_ALL" in said


def test_without_packages_it_says_where_they_belong(images: dict[str, Image]) -> None:
    with images["serve"].started(variables={"STEADFAST_OPEN_TO_ALL": "true"}, mounts={}) as (process, _):
        said, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 2
    assert b"/packages" in said


class Server:
    """A container that serves, and what callers get of it."""

    def __init__(self, process: subprocess.Popen[bytes], inside: int, port: int) -> None:
        """Name the processes that run already."""
        self.process, self.inside, self.port = process, inside, port

    def ask(self, path: str, body: object = None, key: str = KEY) -> tuple[int, bytes]:
        """The status and the whole answer; raises OSError or HTTPException where there is none."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)) as connection:
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            method = "GET" if body is None else "POST"
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read()

    def wait(self, path: str, status: int, key: str = KEY, body: object = None) -> None:
        """Ask until the answer has this status."""
        end = time.monotonic() + WAIT_S
        while True:
            try:
                if self.ask(path, body, key)[0] == status:
                    return
            except (OSError, http.client.HTTPException):
                pass
            assert self.process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)

    def memory_mb(self) -> float:
        """The memory of its processes (PSS), in MB."""
        first = psutil.Process(self.inside)
        return sum(process.memory_full_info().pss for process in [first, *first.children(recursive=True)]) / 1e6


@contextmanager
def _serving(image: Image, keys: Path) -> Iterator[Server]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    variables = {"STEADFAST_API_KEYS_FILE": "/run/secrets/keys", "STEADFAST_PORT": str(port)}
    with image.started(variables=variables, mounts={keys: "/run/secrets"}) as (process, inside):
        # Its log must not fill the pipe.
        threading.Thread(target=lambda: process.stdout and process.stdout.read(), daemon=True).start()
        server = Server(process, inside, port)
        began = time.monotonic()
        server.wait("/readyz", 200)
        say(f"ready in {time.monotonic() - began:.1f} s")
        yield server


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with a file of keys, as a Secret is mounted."""
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "keys").write_text(f"{KEY}\n")
    tmp_path.chmod(0o755)
    return folder


def test_all_six_models_answer_as_a_user_without_a_name(images: dict[str, Image], keys: Path) -> None:
    with _serving(images["zoo"], keys) as server:
        status = (Path("/proc") / str(server.inside) / "status").read_text()
        facts = dict(
            line.split(":\t") for line in status.splitlines() if line.startswith(("Cap", "Uid", "Gid", "NoNew"))
        )
        assert facts["Uid"].split() == [str(USER)] * 4
        assert facts["Gid"].split() == [str(GROUP)] * 4
        assert {value for name, value in facts.items() if name.startswith("Cap")} == {"0" * 16}
        for endpoint, (item, label) in PROBLEMS.items():
            code, answer = server.ask(f"/v1/{endpoint}", {"inputs": [item]})
            assert code == 200, answer
            (result,) = json.loads(answer)["results"]
            assert label is None or result["label"] == label
        assert server.ask("/v1/sentiment", {"inputs": ["A joy."]}, key="wr0ng")[0] == 401
        inside = Path("/proc") / str(server.inside) / "root"
        assert not list((inside / "dev/shm").iterdir())
        names = ", ".join(sorted(path.name.partition("-")[0] for path in (inside / "tmp").iterdir()))
        say(f"memory (PSS) {server.memory_mb():.0f} MB; in /tmp {megabytes(inside / 'tmp'):.0f} MB ({names})")
        (keys / "keys").write_text(f"{KEY}\n{LATER_KEY}\n")
        os.kill(server.inside, signal.SIGHUP)
        server.wait("/v1/models", 200, key=LATER_KEY)


def test_the_health_command_tells_by_its_exit_code(images: dict[str, Image], keys: Path) -> None:
    command = images["zoo"].config["Healthcheck"]["Test"][1:]
    with _serving(images["zoo"], keys) as server:
        words = ["nsenter", f"--target={server.inside}", "--mount", "--pid", "--root", "--wd=/"]
        words += [f"--setuid={USER}", f"--setgid={GROUP}", "--", f"/opt/steadfast/bin/{command[0]}", *command[1:]]
        variables = images["zoo"].variables | {"STEADFAST_PORT": str(server.port)}
        codes = [
            subprocess.run([*words, *more], env=variables, check=False, capture_output=True).returncode
            for more in ([], ["--url", "http://127.0.0.1:9"])
        ]
    assert codes == [0, 1]


def test_sigterm_under_load_loses_no_request(images: dict[str, Image], keys: Path) -> None:
    """What was sent before is answered. Who comes later is told so, or finds nobody who listens."""
    outcomes: list[tuple[float, str]] = []
    enough = threading.Event()

    def call(server: Server) -> None:
        while True:
            began = time.monotonic()
            try:
                code, answer = server.ask("/v1/sentiment", {"inputs": ["A dull script ruined a promising idea."] * 4})
                json.loads(answer)
                outcome = str(code)
            except (OSError, http.client.HTTPException, ValueError):
                outcome = "no answer"
            outcomes.append((began, outcome))
            if len(outcomes) >= BEFORE_THE_SIGNAL:
                enough.set()
            if outcome == "no answer":
                return

    with _serving(images["zoo"], keys) as server:
        callers = [threading.Thread(target=call, args=(server,)) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        assert enough.wait(WAIT_S)
        told = time.monotonic()
        os.kill(server.inside, signal.SIGTERM)
        code = server.process.wait(25 + STOPPING_S)
        took = time.monotonic() - told
        for caller in callers:
            caller.join(WAIT_S)
    before, after = (
        Counter(outcome for began, outcome in outcomes if (began < told) is early) for early in (True, False)
    )
    say(f"SIGTERM to exit {took:.1f} s, exit code {code}")
    say(f"answers to what was sent before {dict(before)}, later {dict(after)}")
    assert code == 0
    # What the server had not begun to read is told to ask another.
    assert set(before) <= {"200", "503"}
    assert before["200"] >= BEFORE_THE_SIGNAL
    # A busy server may answer one more request before the signal reaches it.
    assert set(after) <= {"200", "503", "no answer"}
    assert after["503"] + after["no answer"] > after["200"]


def test_the_batch_image_scores_a_file(images: dict[str, Image], tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "reviews.csv").write_text("text\nA joy from start to end.\nA dull script.\n")
    os.chown(data, USER, GROUP)
    words = ["score", "sentiment", "/run/data/reviews.csv", "--output", "/run/data/scored.parquet"]
    with images["batch"].started(*words, variables={}, mounts={data: "/run/data"}) as (process, _):
        said, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, said
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(data / "scored.parquet")["label"].to_pylist() == ["positive", "negative"]
