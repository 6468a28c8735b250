"""Readers of equal tokenizer files share one tokenizer, for as long as one of them needs it."""

import gc
import threading
from pathlib import Path
from weakref import ref

from models.text import Reader, ReadingLimits
from models.tokenizer import open_tokenizer
from tests.models.test_text import make_tokenizer

LIMITS = ReadingLimits(max_tokens=16)


def test_readers_of_equal_files_share_a_tokenizer_and_read_alike(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        make_tokenizer().save(str(tmp_path / name))
    one, other = (Reader.from_file(tmp_path / name, LIMITS) for name in ("a.json", "b.json"))
    own = Reader(make_tokenizer(), LIMITS)
    assert one.tokenizer is other.tokenizer
    assert own.tokenizer is not one.tokenizer
    rows = [reader.read("good").rows[0] for reader in (one, other, own)]
    assert rows[0].ids == rows[1].ids == rows[2].ids


def test_readers_of_other_files_do_not(tmp_path: Path) -> None:
    padded = make_tokenizer()
    padded.add_tokens(["further"])
    make_tokenizer().save(str(tmp_path / "a.json"))
    padded.save(str(tmp_path / "b.json"))
    one, other = (Reader.from_file(tmp_path / name, LIMITS) for name in ("a.json", "b.json"))
    assert (one.token_id("further") is None, other.token_id("further") is None) == (True, False)


def test_threads_that_open_a_file_at_once_get_one_tokenizer(tmp_path: Path) -> None:
    make_tokenizer().save(str(tmp_path / "a.json"))
    opened = []
    threads = [threading.Thread(target=lambda: opened.append(open_tokenizer(tmp_path / "a.json"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 8
    assert all(one is opened[0] for one in opened)


def test_a_tokenizer_that_nobody_needs_is_let_go(tmp_path: Path) -> None:
    make_tokenizer().save(str(tmp_path / "a.json"))
    gone = ref(open_tokenizer(tmp_path / "a.json"))
    gc.collect()
    assert gone() is None
