"""Settings from a file or the command line: what is refused before anything is read."""

import json
from typing import Any

import pytest

from models.training.settings import TrainingError, check_settings


@pytest.mark.parametrize(
    ("place", "settings"),
    [
        ("score_range", '{"score_range": [0, 1e400]}'),
        ("learning_rate", '{"learning_rate": 1e400}'),
        ("learning_rate", '{"learning_rate": [1e-4, 1e400]}'),
        ("weight_decay", '{"weight_decay": 1e400}'),
        ("weight_decay", '{"weight_decay": NaN}'),
        ("noise.word_noise", '{"noise": {"word_noise": 1e400}}'),
        ("tau", '{"method": "asa", "method_settings": {"tau": 1e400}}'),
    ],
)
def test_numbers_that_are_not_finite_are_refused(place: str, settings: str) -> None:
    given: dict[str, Any] = {"task": "sts", "base": "BASE", "source": {"data": "DATA"}} | json.loads(settings)
    with pytest.raises(TrainingError, match=rf"settings: {place}.*finite number"):
        check_settings(given)
