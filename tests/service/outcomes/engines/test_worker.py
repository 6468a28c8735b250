"""Blocks of records, and the workers that answer them, without the cluster between."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from export.package import PackageError
from models.tasks import TASKS
from service.answers.predictor import Predictor
from service.outcomes.answering import Failure
from service.outcomes.columns import WantedColumns
from service.outcomes.engines.blocks import BLOCK_CHARACTERS, BLOCK_RECORDS, cut_blocks
from service.outcomes.engines.local import compute
from service.outcomes.engines.worker import OtherPackage, Worker, WorkerOrder
from service.outcomes.records import Values
from service.settings import Settings, read_settings
from tests.service.tiny import build_package
from tests.tiny import make_items

RECORDS: list[Values | Failure] = [
    {"text": "good film"},
    {"text": " "},
    Failure("unreadable_record", "torn"),
    {"text": None},
    {"text": "bad " * 100},
]


def order_for(predictor: Predictor, settings: Settings, **changes: Any) -> WorkerOrder:
    return WorkerOrder.of(predictor, settings, WantedColumns(**changes))


@given(st.lists(st.integers(0, 3 * BLOCK_CHARACTERS // 2) | st.none(), max_size=20))
def test_blocks_hold_every_record_once_in_order(lengths: list[int | None]) -> None:
    records: list[Values | Failure] = [
        Failure("validation", "no text") if length is None else {"text": "x" * length, "n": number}
        for number, length in enumerate(lengths)
    ]
    blocks = list(cut_blocks(records))
    assert [record for block in blocks for record in block.records] == records
    assert [block.number for block in blocks] == list(range(len(blocks)))
    assert all(block.records for block in blocks)


def test_a_block_ends_with_so_many_records_or_so_many_characters() -> None:
    short = list(cut_blocks({"text": "x"} for _ in range(2 * BLOCK_RECORDS + 1)))
    assert [len(block.records) for block in short] == [BLOCK_RECORDS, BLOCK_RECORDS, 1]
    long = list(cut_blocks({"text": "x" * BLOCK_CHARACTERS} for _ in range(3)))
    assert [len(block.records) for block in long] == [1, 1, 1]


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.endpoint])
def test_a_worker_gives_the_outcomes_that_this_process_gives(
    task: str, made: Callable[[str], Path], opened: Callable[[str], Predictor]
) -> None:
    records = [*make_items(task, 20), {}]
    predictor = opened(task)
    order = order_for(predictor, read_settings(packages=[made(task) / "package"]))
    worker = Worker(pickle.loads(pickle.dumps(order)))
    worker.begin()
    (block,) = cut_blocks(records)
    answered = pickle.loads(pickle.dumps(worker.answer(pickle.loads(pickle.dumps(block)))))
    assert answered == list(compute(predictor, records, order.wanted))


def test_failures_of_records_are_outcomes(predictor: Predictor, package: Path) -> None:
    worker = Worker(order_for(predictor, read_settings(packages=[package]), min_confidence=0.9))
    worker.begin()
    (block,) = cut_blocks(RECORDS)
    outcomes = worker.answer(block)
    assert [outcome.code for outcome in outcomes] == [None, "empty_input", "unreadable_record", "validation", None]
    assert [outcome.columns["review"] for outcome in outcomes] == [False, True, True, True, False]


def test_an_order_holds_no_keys_and_one_thread(predictor: Predictor, package: Path) -> None:
    settings = read_settings(packages=[package], api_keys=[SecretStr("k" * 40)], threads=7)
    order = order_for(predictor, settings)
    assert (order.settings.api_keys, order.settings.threads) == ((), 1)
    assert b"kkkk" not in pickle.dumps(order)


def test_a_worker_refuses_another_package(predictor: Predictor, tmp_path: Path) -> None:
    settings = read_settings(packages=[build_package(tmp_path / "other", name="other")])
    with pytest.raises(OtherPackage, match="copy the package there, to the same path"):
        Worker(replace(order_for(predictor, Settings()), settings=settings)).begin()


def test_a_worker_refuses_to_answer_in_another_precision(predictor: Predictor, package: Path) -> None:
    order = replace(order_for(predictor, read_settings(packages=[package])), precision="int8")
    with pytest.raises(OtherPackage, match="answers in fp32 on another machine, but in int8 here"):
        Worker(order).begin()


def test_a_worker_refuses_a_package_that_is_not_there(predictor: Predictor, tmp_path: Path) -> None:
    settings = read_settings(packages=[tmp_path / "nowhere"])
    with pytest.raises(PackageError, match="nowhere"):
        Worker(replace(order_for(predictor, Settings()), settings=settings)).begin()
