"""A future made from another: its result is worked on where it arrives, and cancelling the one cancels the other."""

import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def then(first: Future[S], make: Callable[[S], T]) -> Future[T]:
    """What `make` makes of a result, as soon as that is there and in the thread that gave it."""
    whole: Future[T] = Future()
    _cancel_along(whole, first)
    first.add_done_callback(lambda done: _settle(whole, lambda: make(done.result())))
    return whole


def then_wait(first: Future[S], start: Callable[[S], Future[T]]) -> Future[T]:
    """The result of what `start` starts with a result, as soon as that is there and in the thread that gave it."""
    whole: Future[T] = Future()

    def go_on(done: Future[S]) -> None:
        try:
            second = start(done.result())
        except Exception as error:
            second = Future()
            second.set_exception(error)
        _cancel_along(whole, second)
        second.add_done_callback(lambda done: _settle(whole, done.result))

    _cancel_along(whole, first)
    first.add_done_callback(go_on)
    return whole


def _cancel_along(whole: Future[T], part: Future[S]) -> None:
    """Who gives up the whole gives up the part."""
    # Weakly: each would keep the other, and what was computed, until Python looks for cycles.
    reference = weakref.ref(part)

    def give_up(whole: Future[T]) -> None:
        part = reference()
        if part and whole.cancelled():
            part.cancel()

    whole.add_done_callback(give_up)


def _settle(whole: Future[T], make: Callable[[], T]) -> None:
    """Give the whole what `make` makes or raises, unless it was given up."""
    if not whole.set_running_or_notify_cancel():
        return
    try:
        made = make()
    except Exception as error:
        whole.set_exception(error)
    else:
        whole.set_result(made)
