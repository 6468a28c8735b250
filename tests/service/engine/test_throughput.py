"""How fast a model has been computed lately."""

import pytest

from service.engine.throughput import Throughput


def test_the_pace_is_that_of_late() -> None:
    pace = Throughput()
    assert pace.seconds_for(100) == 0.0
    pace.add(100, 1.0)
    assert pace.seconds_for(50) == 0.5
    for _ in range(200):
        pace.add(100, 4.0)
    assert pace.seconds_for(50) == pytest.approx(2.0, rel=1e-3)
