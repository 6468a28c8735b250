"""The speed at which a model has been computed lately."""

import pytest

from service.engine.throughput import Throughput


def test_recent_batches_outweigh_earlier_ones() -> None:
    throughput = Throughput()
    assert throughput.seconds_for(100) == 0.0
    throughput.add(100, 1.0)
    assert throughput.seconds_for(50) == 0.5
    for _ in range(200):
        throughput.add(100, 4.0)
    assert throughput.seconds_for(50) == pytest.approx(2.0, rel=1e-3)
