"""Sessions: what they compute with, and what they do to memory."""

import ctypes
import gc
import multiprocessing
import platform
import random
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import onnxruntime
import psutil
import pytest

from export.package import open_package
from export.providers import PROVIDERS, ProviderMissing, ProviderName, find_provider
from export.session import Session
from models.text import Row

RUNS = 2_000
MEBIBYTE = 2**20


def test_the_cpu_is_always_there() -> None:
    assert find_provider("cpu") == "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("name", "distribution"),
    [("cuda", "onnxruntime-gpu"), ("tensorrt", "onnxruntime-gpu"), ("openvino", "onnxruntime-openvino")],
)
def test_a_provider_that_is_not_there_names_what_to_install(
    graph: Path, name: ProviderName, distribution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderMissing, match=f"{PROVIDERS[name].called}.*pip install {distribution}$"):
        Session(graph, pad_id=0, provider=name)


def test_a_provider_that_does_not_start_is_not_replaced_in_silence(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda _: [])
    with pytest.raises(ProviderMissing, match="could not start it"):
        Session(graph, pad_id=0)


def test_memory_does_not_grow_with_the_runs(package: Path, rows: list[Row]) -> None:
    opened = open_package(package)
    sessions = [Session(opened.graph, pad_id=opened.manifest.pad_id) for _ in range(2)]
    draw = random.Random(0)

    def run(count: int) -> int:
        for number in range(count):
            sessions[number % 2].run(draw.choices(rows, k=draw.randint(1, 16)), ("logits", "rollout"))
        gc.collect()
        return int(psutil.Process().memory_info().rss)

    after_some = run(RUNS // 4)
    # What a run takes is some megabytes; a leak of a kilobyte a run would be seen.
    assert run(RUNS) - after_some < 2 * MEBIBYTE


class MallInfo(ctypes.Structure):
    """What glibc's `mallinfo2` tells; `hblks` is the number of blocks that are mapped on their own."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do not choose as glibc does")
def test_large_blocks_are_mapped_on_their_own_whatever_was_freed_before(graph: Path) -> None:
    # In a process of its own: where others have left room in the heap, nothing is mapped.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        assert alone.submit(_map_three, graph).result() == 3


def _map_three(graph: Path) -> int:
    """The number of three large blocks that are mapped on their own after one was freed."""
    Session(graph, pad_id=0)
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype, libc.malloc.restype, libc.free.argtypes = MallInfo, ctypes.c_void_p, [ctypes.c_void_p]
    # Where glibc chooses, it takes the next ones of up to this size from the heap.
    libc.free(libc.malloc(32 * MEBIBYTE - 65_536))
    mapped = libc.mallinfo2().hblks
    for _ in range(3):
        libc.malloc(8 * MEBIBYTE)
    return int(libc.mallinfo2().hblks - mapped)


def test_memory_of_large_batches_can_be_given_back_without_another_answer(package: Path, rows: list[Row]) -> None:
    # In a process of its own: what others have left in the heap can hold pages that would otherwise go back.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        given_back, before, after = alone.submit(_give_back, package / "model.onnx", rows).result()
    assert given_back > 8 * MEBIBYTE
    assert after == before


def _give_back(graph: Path, rows: list[Row]) -> tuple[int, bytes, bytes]:
    """Bytes that a session gave back after a large batch, and what it answers before and after."""
    session = Session(graph, pad_id=0)
    before = session.run(rows[:1], ("logits",))[0]["logits"].tobytes()
    session.run(rows * (2_000 // len(rows)), session.outputs)
    largest = psutil.Process().memory_info().rss
    session.release_memory(rows[0])
    given_back = largest - psutil.Process().memory_info().rss
    return given_back, before, session.run(rows[:1], ("logits",))[0]["logits"].tobytes()


def test_texts_are_read_by_many_threads_at_once(package: Path) -> None:
    reader = open_package(package).reader()
    texts = [f"the film number {number} was {'very ' * (number % 40)}good" for number in range(64)]
    alone = [[row.ids for row in reader.read(text).rows] for text in texts]

    def read_all(_: int) -> list[list[list[int]]]:
        return [[row.ids for row in reader.read(text).rows] for text in texts]

    with ThreadPoolExecutor(16) as threads:
        assert all(found == alone for found in threads.map(read_all, range(48)))
