"""mosec: reading in one process and computing in two, in dynamic batches that are sorted by length."""

import os
from pathlib import Path
from typing import Any

from bare import BareModel, as_scores
from mosec import Runtime, Server, Worker

PACKAGE = Path(os.environ["PACKAGE"])
ROWS_AT_ONCE = 8


class Compute(Worker):
    """Reads and computes requests."""

    def __init__(self) -> None:
        """Load the model."""
        super().__init__()
        self._model = BareModel(PACKAGE)

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The scores of each text of each request; rows of like length are computed together."""
        rows = [(number, self._model.encode(text)) for number, one in enumerate(data) for text in one["inputs"]]
        order = sorted(range(len(rows)), key=lambda place: len(rows[place][1]))
        scores: dict[int, dict[str, float]] = {}
        for start in range(0, len(order), ROWS_AT_ONCE):
            chosen = order[start : start + ROWS_AT_ONCE]
            found = self._model.probabilities([rows[place][1] for place in chosen])
            scores |= {place: as_scores(self._model.labels, one) for place, one in zip(chosen, found, strict=True)}
        results: list[dict[str, Any]] = [{"results": []} for _ in data]
        for place, (number, _) in enumerate(rows):
            results[number]["results"].append(scores[place])
        return results


if __name__ == "__main__":
    server = Server()
    server.register_runtime(
        {"/v1/sentiment": [Runtime(Compute, num=2, max_batch_size=32, max_wait_time=2, timeout=60)]}
    )
    server.run()
