"""Builds images with buildah, and runs them with bubblewrap where no container engine can."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WANTED = "STEADFAST_TEST_IMAGES"
"""The variable that asks for these tests, since they take minutes, root and a network."""

BUILT = "built"
"""The value of that variable which takes the images that an earlier run built."""

BASE, BUILD_BASE = "localhost/steadfast-test:base", "localhost/steadfast-test:build-base"
USER, GROUP = 12345, 0

UNNEEDED = ("usr/share/man", "usr/share/info", "usr/share/locale", "var/lib/apt/lists", "var/cache/apt")
"""What Debian's slim images leave out too, or what only installing left behind."""


def skip_unless_possible(*programs: str) -> None:
    """Skip the test, with the reason, where nobody asked for it or this machine cannot run it."""
    if not os.environ.get(WANTED):
        pytest.skip(f"takes minutes and a network; set {WANTED}=1 to run it")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


def run(*words: str | Path) -> str:
    """The output of a command, which must end well; otherwise the test fails with all that it said."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout.strip()


def make_bases() -> None:
    """Two images in place of `python:3.11-slim`, unless they are there: Debian's Python, and the same with pip."""
    if _has(BUILD_BASE):
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        packages = "python3-minimal,libpython3.11-stdlib,ca-certificates"
        run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", root)
        for unneeded in UNNEEDED:
            shutil.rmtree(root / unneeded, ignore_errors=True)
        for file in (root / "usr/share/doc").rglob("*"):
            if file.name != "copyright" and not file.is_dir():
                file.unlink()
        container = run("buildah", "from", "scratch")
        run("buildah", "add", "--quiet", container, f"{root}/", "/")
        run("buildah", "commit", "--quiet", "--rm", container, BASE)
    container = run("buildah", "from", BASE)
    for words in ("update", "install --yes --no-install-recommends python3-pip"):
        run("buildah", "run", "--isolation", "chroot", container, "--", "apt-get", "--quiet", *words.split())
    run("buildah", "commit", "--quiet", "--rm", container, BUILD_BASE)


def _has(image: str) -> bool:
    return subprocess.run(["buildah", "inspect", "--type", "image", image], capture_output=True).returncode == 0


def build(target: str) -> None:
    """Build a target by `make image`; pip in it trusts whom this machine's trusts."""
    flags = ["--isolation chroot", f"--build-arg BUILD_BASE={BUILD_BASE}"]
    certificates = os.environ.get("PIP_CERT")
    if certificates:
        flags += [f"--volume {Path(certificates).resolve()}:/run/ca.crt:ro", "--build-arg PIP_CERT=/run/ca.crt"]
    run("make", "image", "BUILDER=buildah", f"BASE={BASE}", f"TARGET={target}", f"FLAGS={' '.join(flags)}")


@dataclass(frozen=True)
class Image:
    """An image whose root is mounted."""

    root: Path
    config: Mapping[str, Any]
    """What a container engine goes by: its command, user, variables, health check and labels."""

    @property
    def variables(self) -> dict[str, str]:
        """What it sets in the environment."""
        return dict(entry.split("=", 1) for entry in self.config["Env"])

    @contextmanager
    def started(
        self, *arguments: str, variables: Mapping[str, str], mounts: Mapping[Path, str]
    ) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
        """The image's command, run by a user without a name or capabilities, with a read-only root and /tmp in memory.

        Yields the process of bubblewrap, and the id of the first process inside, which signals go to.
        """
        read, write = os.pipe()
        words = self._command(write, variables, mounts, [*self.config["Entrypoint"], *arguments])
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=[write])
        os.close(write)
        with os.fdopen(read) as told:
            inside = int(json.load(told)["child-pid"])
        try:
            yield process, inside
        finally:
            # To become somebody else, it gave up dying with its parent.
            with suppress(ProcessLookupError):
                os.kill(inside, signal.SIGKILL)
            process.kill()
            process.wait()

    def _command(
        self, info: int, variables: Mapping[str, str], mounts: Mapping[Path, str], command: Sequence[str]
    ) -> list[str]:
        words = ["bwrap", "--unshare-pid", "--unshare-ipc", "--as-pid-1", "--die-with-parent", "--info-fd", str(info)]
        words += ["--cap-drop", "ALL"]
        # setpriv needs these to become somebody else, and then drops them.
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            words += ["--cap-add", capability]
        words += ["--ro-bind", str(self.root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run"]
        words += ["--perms", "1777", "--tmpfs", "/tmp"]
        for source, place in mounts.items():
            words += ["--bind", str(source), place]
        words.append("--clearenv")
        for name, value in (self.variables | dict(variables)).items():
            words += ["--setenv", name, value]
        words += ["setpriv", f"--reuid={USER}", f"--regid={GROUP}", "--clear-groups", "--no-new-privs"]
        return [*words, "--bounding-set=-all", "--inh-caps=-all", *command]


@contextmanager
def mounted(target: str) -> Iterator[Image]:
    """The image of a target, built before."""
    container = run("buildah", "from", "--pull-never", f"steadfast:{target}")
    try:
        root = Path(run("buildah", "mount", container))
        described = json.loads(run("buildah", "inspect", "--type", "image", f"steadfast:{target}"))
        yield Image(root, described["Docker"]["config"])
    finally:
        run("buildah", "umount", container)
        run("buildah", "rm", container)


def megabytes(*folders: Path) -> float:
    """The bytes of all files in these folders, in MB; links count nothing, and a file with two names counts once."""
    seen, total = set(), 0
    for folder in folders:
        for path in [folder, *folder.rglob("*")]:
            if path.is_file() and not path.is_symlink():
                about = path.stat()
                if about.st_ino not in seen:
                    seen.add(about.st_ino)
                    total += about.st_size
    return total / 1e6
