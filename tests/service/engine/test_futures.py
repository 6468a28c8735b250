"""Futures that are started one after the other."""

import threading
from concurrent.futures import CancelledError, Future

import pytest

from service.engine.futures import one_by_one, otherwise, settled


def test_the_results_of_futures_are_kept_in_their_order() -> None:
    parts: list[Future[int]] = [Future() for _ in range(3)]
    whole = one_by_one(lambda part=part: part for part in parts)  # type: ignore[misc]
    for number, part in enumerate(parts):
        assert not whole.done()
        part.set_result(number)
    assert whole.result(0) == [0, 1, 2]


def test_each_is_started_when_the_one_before_is_done_in_the_thread_that_did_it() -> None:
    parts: list[Future[int]] = [Future(), Future()]
    started: list[str] = []

    def start(number: int) -> Future[int]:
        started.append(threading.current_thread().name)
        return parts[number]

    whole = one_by_one(lambda number=number: start(number) for number in range(2))  # type: ignore[misc]
    assert started == [threading.current_thread().name]
    worker = threading.Thread(target=parts[0].set_result, args=(1,), name="worker")
    worker.start()
    worker.join()
    assert started[1:] == ["worker"]
    parts[1].set_result(2)
    assert whole.result(0) == [1, 2]


def test_very_many_that_are_done_at_once_are_taken_in_turn() -> None:
    assert one_by_one((lambda: settled(1)) for _ in range(100_000)).result(0) == [1] * 100_000
    assert one_by_one([]).result(0) == []


@pytest.mark.parametrize("is_late", [False, True])
def test_the_first_error_is_the_error_of_all_and_no_more_are_started(is_late: bool) -> None:
    part: Future[int] = Future()

    def start() -> Future[int]:
        if is_late:
            raise ZeroDivisionError("late")
        pytest.fail("started")

    whole = one_by_one([lambda: part, start])
    if is_late:
        part.set_result(1)
    else:
        part.set_exception(ZeroDivisionError("early"))
    with pytest.raises(ZeroDivisionError, match="late" if is_late else "early"):
        whole.result(0)


def test_to_cancel_it_cancels_the_one_under_way_and_no_more_are_started() -> None:
    first, second = settled(1), Future[int]()
    whole = one_by_one([lambda: first, lambda: second, lambda: pytest.fail("started")])
    assert whole.cancel()
    assert second.cancelled()
    with pytest.raises(CancelledError):
        whole.result(0)


def test_a_future_that_is_cancelled_from_without_is_an_error() -> None:
    part: Future[int] = Future()
    whole = one_by_one([lambda: part])
    part.cancel()
    with pytest.raises(CancelledError):
        whole.result(0)


def test_one_kind_of_error_is_taken_for_a_result_and_others_stay() -> None:
    parts: list[Future[str]] = [Future() for _ in range(3)]
    chosen = [otherwise(part, KeyError, lambda: "made") for part in parts]
    parts[0].set_result("own")
    parts[1].set_exception(KeyError())
    parts[2].set_exception(ValueError("another"))
    assert [one.result(0) for one in chosen[:2]] == ["own", "made"]
    with pytest.raises(ValueError, match="another"):
        chosen[2].result(0)


def test_to_cancel_what_has_another_way_out_cancels_its_first_way() -> None:
    part: Future[str] = Future()
    otherwise(part, KeyError, lambda: "made").cancel()
    assert part.cancelled()
