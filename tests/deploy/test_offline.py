"""The archive for machines without a network: `make offline`, and the script in it that installs."""

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.images import ROOT, run, skip_unless_possible

LIMIT_S = 600

SERVE_AND_ASK = """
ip link set lo up
ip -brief link
./install.sh "$1" "$2"
export STEADFAST_ZOO="$1/packages" STEADFAST_CACHE=off
"$1/bin/steadfast" serve 2> "$1/log" &
until "$1/bin/steadfast" health; do kill -0 $!; sleep 0.2; done
"$1/bin/python" - <<'END'
import json, urllib.request
request = urllib.request.Request("http://127.0.0.1:3000/v1/sentiment", b'{"inputs": ["A joy from start to end."]}')
request.add_header("Content-Type", "application/json")
print(json.load(urllib.request.urlopen(request))["results"][0]["label"])
print(len(json.load(urllib.request.urlopen("http://127.0.0.1:3000/v1/models"))["models"]), "models")
END
printf 'text\\nA joy.\\n' > "$1/reviews.csv"
"$1/bin/steadfast" score sentiment "$1/reviews.csv" --output "$1/scored.parquet"
kill -TERM $!
wait $!
"""
"""What runs in a network of its own, in which there is no other machine; `$1` is the folder, `$2` a Python."""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An unpacked archive whose sums fit, with nothing to install."""
    folder = tmp_path / "archive"
    folder.mkdir()
    shutil.copy(ROOT / "deploy" / "offline" / "install.sh", folder)
    (folder / "PYTHON").write_text(f"{'.'.join(platform.python_version_tuple()[:2])} {platform.machine()}\n")
    _write_sums(folder)
    return folder


def _write_sums(folder: Path) -> None:
    files = [folder / "PYTHON", folder / "install.sh"]
    sums = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  ./{file.name}\n" for file in files)
    (folder / "SHA256SUMS").write_text("".join(sums))


def _install(archive: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([archive / "install.sh", *arguments], capture_output=True, text=True, check=False)


def test_it_asks_for_a_folder(archive: Path) -> None:
    done = _install(archive)
    assert done.returncode != 0
    assert "name the folder to install into: ./install.sh FOLDER [PYTHON]" in done.stderr


def test_it_overwrites_no_folder(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    done = _install(archive, str(tmp_path / "there"))
    assert (done.returncode, done.stderr) == (2, f"{tmp_path}/there exists; name a new folder, or remove it\n")


def test_it_installs_nothing_from_a_damaged_archive(archive: Path, tmp_path: Path) -> None:
    with (archive / "PYTHON").open("a") as file:
        file.write(" ")
    done = _install(archive, str(tmp_path / "new"), sys.executable)
    assert done.returncode != 0
    assert "./PYTHON: FAILED" in done.stdout
    assert not (tmp_path / "new").exists()


def test_it_says_which_python_the_wheels_are_for(archive: Path, tmp_path: Path) -> None:
    (archive / "PYTHON").write_text("2.7 vax\n")
    _write_sums(archive)
    done = _install(archive, str(tmp_path / "new"), sys.executable)
    assert done.returncode != 0
    assert "the wheels are for Python 2.7 vax, and this is" in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The unpacked archive that `make offline` makes, by the Python of the tests."""
    skip_unless_possible("unshare", "ip", "make")
    run("make", "--assume-old=.venv/runtime.done", "offline", f"BIN={Path(sys.executable).parent}")
    (file,) = (ROOT / "build" / "offline").glob("*-offline.tar")
    folder = tmp_path_factory.mktemp("offline")
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    yield unpacked
    shutil.rmtree(ROOT / "build" / "offline")


def test_the_archive_installs_and_serves_without_a_network(made: Path, tmp_path: Path) -> None:
    words = ["unshare", "--net", "sh", "-ec", SERVE_AND_ASK, "sh", str(tmp_path / "steadfast"), sys.executable]
    done = subprocess.run(words, cwd=made, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    # Before the script speaks, the one interface there is: loopback.
    (interface,) = (
        line.split()[0] for line in lines[: next(n for n, line in enumerate(lines) if "installed;" in line)]
    )
    assert interface == "lo"
    assert "positive" in lines
    assert "6 models" in lines
    ready = [
        json.loads(line) for line in (tmp_path / "steadfast" / "log").read_text().splitlines() if '"ready"' in line
    ]
    assert len(ready) == 1
    sys.stdout.write(f"{sum(file.stat().st_size for file in made.rglob('*') if file.is_file()) / 1e6:.0f} MB\n")
