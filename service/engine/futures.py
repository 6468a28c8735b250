"""Futures made from other futures.

The follow-up runs in the thread that settled the first future. Cancelling the new future cancels the first one too.
"""

import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Generic, TypeVar

from service.engine.errors import ordinary

S = TypeVar("S")
T = TypeVar("T")


def settled(result: T) -> Future[T]:
    """A future that holds `result` already."""
    future: Future[T] = Future()
    future.set_result(result)
    return future


def then(first: Future[S], make: Callable[[S], T]) -> Future[T]:
    """A future that holds what `make` returns for the result of `first`, or the error of either.

    `make` runs as soon as the result is there, in the thread that gave it.
    """
    whole: Future[T] = Future()
    _cancel_along(whole, first)
    first.add_done_callback(lambda done: _settle(whole, lambda: make(done.result())))
    return whole


def otherwise(first: Future[S], kind: type[Exception], make: Callable[[], T]) -> Future[S | T]:
    """A future that holds the result of `first`, or what `make` returns where that holds an error of `kind`."""
    whole: Future[S | T] = Future()

    def choose(done: Future[S]) -> S | T:
        try:
            return done.result()
        except kind:
            return make()

    _cancel_along(whole, first)
    first.add_done_callback(lambda done: _settle(whole, lambda: choose(done)))
    return whole


def then_wait(first: Future[S], start: Callable[[S], Future[T]]) -> Future[T]:
    """A future that holds the result of a second one, which `start` makes from the result of `first`; or their error.

    `start` runs as soon as the result is there, in the thread that gave it.
    """
    whole: Future[T] = Future()

    def go_on(done: Future[S]) -> None:
        second = start(done.result())
        _cancel_along(whole, second)
        second.add_done_callback(lambda done: _settle(whole, done.result))

    _cancel_along(whole, first)
    first.add_done_callback(lambda done: _attempt(whole, lambda: go_on(done)))
    return whole


def one_by_one(starts: Iterable[Callable[[], Future[T]]]) -> Future[list[T]]:
    """A future that holds the results of several others, each started when the one before is done; or the first error.

    They are started in the thread that gave the result before, the first one in the caller's.
    """
    in_turn = _InTurn(starts)
    _attempt(in_turn.whole, in_turn.go_on)
    return in_turn.whole


class _InTurn(Generic[T]):
    """The futures of `one_by_one`: those that are done, the one under way, and those to start.

    Not two functions that call each other: these would keep each other, and all results, until Python looks for cycles.
    """

    def __init__(self, starts: Iterable[Callable[[], Future[T]]]) -> None:
        """Start none yet."""
        self.whole: Future[list[T]] = Future()
        self._results: list[T] = []
        self._waiting = iter(starts)

    def go_on(self) -> None:
        """Start one after the other until one is not done at once."""
        # A loop, because a callback within a callback for each future that is done at once would go too deep.
        for start in self._waiting:
            if self.whole.cancelled():
                return
            part = start()
            if not part.done():
                _cancel_along(self.whole, part)
                part.add_done_callback(lambda done: _attempt(self.whole, lambda: self._take(done)))
                return
            self._results.append(part.result())
        _settle(self.whole, lambda: self._results)

    def _take(self, done: Future[T]) -> None:
        self._results.append(done.result())
        self.go_on()


def _attempt(whole: Future[T], act: Callable[[], None]) -> None:
    """Call `act`, and give `whole` the error that it raises, unless it was cancelled."""
    try:
        act()
    except BaseException as error:
        if whole.set_running_or_notify_cancel():
            whole.set_exception(ordinary(error))
        _raise_interruption(error)


def _cancel_along(whole: Future[T], part: Future[S]) -> None:
    """Make the cancelling of `whole` cancel `part` too."""
    # Weakly: each would keep the other, and the arrays computed, until Python looks for cycles.
    reference = weakref.ref(part)

    def cancel_part(whole: Future[T]) -> None:
        part = reference()
        if part and whole.cancelled():
            part.cancel()

    whole.add_done_callback(cancel_part)


def _settle(whole: Future[T], make: Callable[[], T]) -> None:
    """Give `whole` what `make` returns or raises, unless it was cancelled."""
    if not whole.set_running_or_notify_cancel():
        return
    try:
        made = make()
    except BaseException as error:
        whole.set_exception(ordinary(error))
        _raise_interruption(error)
    else:
        whole.set_result(made)


def _raise_interruption(error: BaseException) -> None:
    """Let Ctrl-C and the like through to the thread, once whoever waits for the future has been told."""
    if not isinstance(error, Exception):
        raise error
