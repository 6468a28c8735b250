"""What a request held is let go as it ends: nothing of it waits until Python looks for reference cycles."""

import asyncio
import gc
import weakref
from collections import Counter
from collections.abc import Iterator, MutableMapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from service.engine.futures import one_by_one
from service.server.in_flight import CancelScope, Watch
from service.settings import Settings
from tests.service.server.test_application import running

pytestmark = pytest.mark.usefixtures("no_collector")


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Python looks for cycles only where a test asks for that, and keeps what it finds."""
    gc.collect()
    gc.disable()
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


LONG = " ".join(["good film"] * 400)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param({"inputs": ["good film"]}, 200, id="answered"),
        pytest.param({"inputs": ["good film", "bad"] * 20}, 200, id="packed"),
        pytest.param({"inputs": [LONG], "explain": "attention"}, 200, id="long"),
        pytest.param({"inputs": ["good film", "a bad one"], "explain": "occlusion"}, 200, id="background"),
        pytest.param({"inputs": [LONG], "explain": "occlusion", "on_error": "report"}, 200, id="unexplained"),
        pytest.param({"inputs": [" ", "good"], "on_error": "report"}, 200, id="rejected"),
    ],
)
def test_a_request_leaves_nothing_for_the_garbage_collector(
    package: Path, request_: dict[str, Any], status: int
) -> None:
    async def leftovers() -> Counter[str]:
        async with running(Settings(packages=(package,), max_occlusion_words=50)) as client:

            async def ask() -> None:
                assert (await client.post("/v1/sentiment", json=request_)).status_code == status

            # What the first request makes once and for all is not to be counted.
            await asyncio.create_task(ask())
            gc.collect()
            gc.set_debug(gc.DEBUG_SAVEALL)
            await asyncio.create_task(ask())
            gc.collect()
            return Counter(
                f"{type(one).__module__}.{type(one).__qualname__}"
                for one in gc.garbage
                if type(one).__module__.startswith(("service.", "models."))
            )

    assert asyncio.run(leftovers()) == {}


def test_a_watch_that_has_ended_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.server.in_flight.WATCHED_AFTER_S", 0.0)

    async def watched() -> Watch | None:
        looks = asyncio.Event()

        async def receive() -> MutableMapping[str, Any]:
            looks.set()
            await asyncio.sleep(60)
            return {}

        watch = Watch(receive, CancelScope())
        await looks.wait()
        watch.end()
        reference = weakref.ref(watch)
        del watch
        await asyncio.sleep(0)
        return reference()

    assert asyncio.run(watched()) is None


def test_the_results_of_futures_are_let_go_by_the_last_one_who_holds_them() -> None:
    class Result:
        pass

    parts: list[Future[Result]] = [Future(), Future()]
    whole = one_by_one([lambda: parts[0], lambda: parts[1]])
    for part in parts:
        part.set_result(Result())
    (first, _) = map(weakref.ref, whole.result(0))
    assert first() is not None
    parts.clear()
    del whole, part
    assert first() is None
