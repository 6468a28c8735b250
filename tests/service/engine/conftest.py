from collections.abc import Iterator

import pytest

from service.engine.model_engine import Engine
from tests.service.engine.fakes import OUTPUTS, Clock, ControlledRun, engine_of, rows_of, stopped_clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    with stopped_clock() as clock:
        yield clock


@pytest.fixture
def blocked() -> ControlledRun:
    """A run that computes nothing until the test opens it."""
    return ControlledRun(is_open=False)


@pytest.fixture
def busy(blocked: ControlledRun) -> Iterator[Engine]:
    """An engine whose only thread is held up by a row of length 1, so that later rows must wait."""
    with engine_of(blocked, queued_rows=8, queued_tokens=400, batch_tokens=100) as engine:
        engine.submit(rows_of(1), OUTPUTS)
        assert blocked.entered.wait(10)
        yield engine
        blocked.open.set()
