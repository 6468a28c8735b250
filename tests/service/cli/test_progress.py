"""The bar that shows how far a run is."""

import re
import sys
from io import StringIO

import pytest

from service.cli.progress import shown_progress


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_begins_with_what_an_earlier_run_did(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with shown_progress() as progress:
        progress(1_234, 5_000)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert "1234/5000" in shown
    assert "records/s" not in shown
