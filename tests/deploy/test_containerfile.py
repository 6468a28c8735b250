"""The Containerfile: clean by hadolint, and with what orchestrators and people look for."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import Settings

ROOT = Path(__file__).parents[2]
CONTAINERFILE = ROOT / "deploy" / "Containerfile"
TARGETS = {"serve", "batch", "zoo"}


def stage(name: str) -> str:
    """The instructions of a stage, with continued lines joined and without comments."""
    text = re.sub(r"^\s*#.*\n", "", CONTAINERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    (found,) = re.findall(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(found)


def test_hadolint_finds_nothing() -> None:
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, CONTAINERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_is_an_argument() -> None:
    first, *_ = re.findall(r"^(ARG|FROM) (\S+)", CONTAINERFILE.read_text(), re.MULTILINE)
    assert first == ("ARG", "BASE=python:3.11-slim")
    froms = re.findall(r"^FROM (\S+) AS (\S+)", CONTAINERFILE.read_text(), re.MULTILINE)
    stages = {name for _, name in froms}
    assert {base for base, _ in froms} - stages == {"${BASE}", "${BUILD_BASE}"}
    assert stages >= TARGETS
    # A build that names no target gets the one with everything to try.
    assert froms[-1][1] == "zoo"


def test_only_pinned_files_are_installed_and_a_failed_step_fails_the_build() -> None:
    text = CONTAINERFILE.read_text()
    assert "PIP_REQUIRE_HASHES=1" in stage("build")
    assert set(re.findall(r"--requirement (\S+)", text)) == {
        f"requirements/{name}.txt" for name in ("serve", "files", "build")
    }
    assert "|| true" not in text
    assert not re.search(r"\|\s*(sh|bash)\b", text)
    assert not re.search(r"https?://", text)


def test_the_image_stops_says_its_health_and_names_itself() -> None:
    runtime = stage("runtime")
    assert re.search(r"^STOPSIGNAL SIGTERM$", runtime, re.MULTILINE)
    assert re.search(rf"^EXPOSE {Settings.model_fields['port'].default}$", runtime, re.MULTILINE)
    assert re.search(r'^HEALTHCHECK .*CMD \["steadfast", "health"\]$', runtime, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["steadfast", "serve"\]$', runtime, re.MULTILINE)
    assert re.search(r"^USER [1-9]\d*:0$", runtime, re.MULTILINE)
    for label in ("title", "description", "version", "revision", "created", "licenses"):
        assert f"org.opencontainers.image.{label}=" in runtime


def test_its_settings_exist() -> None:
    variables = dict(re.findall(r"\bSTEADFAST_(\w+)=(\S+)", stage("runtime")))
    assert variables == {"HOST": "0.0.0.0", "ZOO": "/packages", "CACHE": "/tmp/steadfast"}
    assert {name.lower() for name in variables} <= Settings.model_fields.keys()


def test_the_context_holds_what_is_copied_and_no_keys() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    sources = {
        word.rstrip("/")
        for name in ("build", "build-files")
        for words in re.findall(r"^COPY ((?!--from)\S.*) \S+$", stage(name), re.MULTILINE)
        for word in words.split()
    }
    assert sources == allowed


def _stand_in(folder: Path, name: str, code: int) -> None:
    """A program of this name that ends with `code`, as a builder does that is there or has no engine."""
    (folder / name).write_text(f"#!/bin/sh\nexit {code}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("programs", "chosen"),
    [
        ({"docker": 0, "podman": 0, "buildah": 0}, "docker build"),
        # A client without an engine.
        ({"docker": 1, "podman": 0, "buildah": 0}, "podman build --format docker"),
        ({"buildah": 0}, "buildah build --format docker"),
    ],
)
def test_make_image_uses_the_builder_that_is_there(tmp_path: Path, programs: dict[str, int], chosen: str) -> None:
    for name, code in programs.items():
        _stand_in(tmp_path, name, code)
    command = _make(tmp_path, "--dry-run", "image", "TARGET=serve").replace(f"{tmp_path}/", "")
    assert chosen in " ".join(command.split())
    assert "--target serve" in command
    assert "--tag steadfast:serve" in command


def test_make_image_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        _make(tmp_path, "image")
    assert "found no docker engine, podman or buildah; install one of them" in caught.value.stdout


def _make(folder: Path, *words: str) -> str:
    """What make prints where the programs in `folder` are the only builders."""
    for name in ("sh", "sed", "git", "echo", "make", "python3"):
        path = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
        (folder / name).symlink_to(path)
    done = subprocess.run(
        [folder / "make", *words], cwd=ROOT, env={"PATH": str(folder)}, capture_output=True, text=True, check=True
    )
    return done.stdout
