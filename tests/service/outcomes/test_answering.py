"""Answers to long streams of items: in order, and memory goes back to the system now and then."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from export.session import Arrays, Session
from models.text import Row
from service.answers.predictor import Predictor
from service.outcomes import answering
from service.outcomes.answering import Failure
from service.outcomes.columns import ERROR, WantedColumns
from service.outcomes.engines import worker
from service.outcomes.engines.blocks import Block
from service.outcomes.engines.local import compute
from service.outcomes.engines.worker import Worker, WorkerOrder
from service.outcomes.records import Values
from service.settings import read_settings
from tests.service.files.scored import texts_of_many_lengths

STRETCH = 100


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of batches that were being computed each time that memory went back, in stretches of 100 items."""
    monkeypatch.setattr(answering, "STRETCH_ITEMS", STRETCH)
    monkeypatch.setattr(worker, "STRETCH_ITEMS", STRETCH)
    seen, computing = list[int](), set[int]()
    run, release = Session.run_padded, Predictor.release_memory

    def run_watched(session: Session, rows: Sequence[Row], outputs: Sequence[str]) -> Arrays:
        computing.add(threading.get_ident())
        try:
            return run(session, rows, outputs)
        finally:
            computing.discard(threading.get_ident())

    def release_watched(predictor: Predictor) -> None:
        seen.append(len(computing))
        release(predictor)

    monkeypatch.setattr(Session, "run_padded", run_watched)
    monkeypatch.setattr(Predictor, "release_memory", release_watched)
    return seen


def records(count: int) -> Iterator[Values | Failure]:
    for number, text in enumerate(texts_of_many_lengths(count)):
        yield Failure("unreadable_record", str(number)) if number % 50 == 49 else {"text": text}


def test_memory_goes_back_between_stretches_while_nothing_is_under_way(
    predictor: Predictor, released: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list(compute(predictor, records(3 * STRETCH + 1), WantedColumns()))
    assert released == [0, 0, 0]
    monkeypatch.setattr(answering, "STRETCH_ITEMS", 10**6)
    assert found == list(compute(predictor, records(3 * STRETCH + 1), WantedColumns()))
    assert [one.columns[ERROR] for one in found[49::50]] == [str(number) for number in range(49, 301, 50)]


@pytest.mark.parametrize("count", [0, 1, STRETCH])
def test_a_short_stream_gives_nothing_back(predictor: Predictor, released: list[int], count: int) -> None:
    assert len(list(compute(predictor, records(count), WantedColumns()))) == count
    assert released == []


def test_a_worker_gives_memory_back_between_blocks(predictor: Predictor, package: Path, released: list[int]) -> None:
    hand = Worker(WorkerOrder.of(predictor, read_settings(packages=[package]), WantedColumns()))
    hand.begin()
    block = Block(0, tuple({"text": text} for text in texts_of_many_lengths(STRETCH // 2)))
    answered = [hand.answer(block) for _ in range(5)]
    assert released == [0, 0]
    assert all(outcomes == answered[0] for outcomes in answered)
