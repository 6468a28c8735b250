"""What is handed in to the engines while a test runs."""

from collections.abc import Sequence
from typing import Any

import pytest

from models.text import Row
from service.engine.model_engine import Engine


@pytest.fixture
def handed_in(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """The number of rows of everything that is handed to an engine, and whether they are background rows."""
    seen: list[tuple[int, bool]] = []
    submit = Engine.submit

    def watch(engine: Engine, rows: Sequence[Row], outputs: tuple[str, ...], **options: Any) -> Any:
        seen.append((len(rows), options.get("background", False)))
        return submit(engine, rows, outputs, **options)

    monkeypatch.setattr(Engine, "submit", watch)
    return seen
