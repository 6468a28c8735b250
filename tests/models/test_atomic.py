"""Files and folders that are whole or not there."""

import errno
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from models.atomic import UNFINISHED, atomic_write, atomic_write_text


class Failed(Exception):
    """Stands for whatever ends a write half-way."""


def test_a_file_is_replaced_only_when_all_of_it_is_written(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    atomic_write_text(target, "old")
    with atomic_write(target) as unfinished:
        unfinished.write_text("new")
        assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", [Failed, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(error):
        _write_half(target, error)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert target.read_text() == "old"


def test_what_a_killed_process_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / f"a{UNFINISHED}").write_text("half of an older one, and longer")
    atomic_write_text(tmp_path / "a.txt", "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["new"]


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "epoch-1"
    for name in ("old", "new"):
        with atomic_write(target) as unfinished:
            unfinished.mkdir()
            (unfinished / name).touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["epoch-1", "new"]


def test_the_unfinished_file_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with atomic_write(tmp_path / "a.csv.gz", unfinished=tmp_path / "work" / "a.csv.gz") as unfinished:
        unfinished.write_text("whole")
    assert (tmp_path / "a.csv.gz").read_text() == "whole"
    assert not list((tmp_path / "work").iterdir())


WORDS = Tokenizer(WordLevel({str(number): number for number in range(10_000)}, unk_token="0"))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(bytes(100_000)),
        lambda path: save_file({"a": np.zeros(100_000)}, path),
        lambda path: WORDS.save(str(path)),
    ],
    ids=["plainly", "safetensors", "tokenizers"],
)
def test_a_full_disk_is_told_by_the_file_whichever_library_finds_it(
    tmp_path: Path, write: Callable[[Path], object]
) -> None:
    """The command line shows an error of the system as a sentence, and any other as a fault of ours."""
    target = tmp_path / "a.bin"
    with (
        files_end_at(4096),
        pytest.raises(OSError, match=re.escape(str(target))) as raised,
        atomic_write(target) as unfinished,
    ):
        write(unfinished)
    assert raised.value.errno == errno.EFBIG
    assert not list(tmp_path.iterdir())


def test_a_full_disk_that_has_a_name_keeps_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="elsewhere"), atomic_write(tmp_path / "a.bin"):
        raise OSError(errno.ENOSPC, "No space left on device", "elsewhere")


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """Let no file of this process grow further, which libraries are told as they are of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _write_half(target: Path, error: type[BaseException]) -> None:
    with atomic_write(target) as unfinished:
        unfinished.write_text("half")
        raise error
