"""How far a run is, for people and for programs."""

import json
import re
import sys
from io import StringIO

import pytest

from service.cli.files.standing import Pace, as_line, shown_standing
from service.files.scoring import Standing


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_records_of_an_earlier_run_count_as_done_but_not_for_the_pace() -> None:
    pace = Pace(Standing(1_000, 3_000), now=10.0)
    told = pace.describe(Standing(1_500, 3_000, refused=50, tokens=20_000), now=20.0)
    assert told == {
        "done": 1_500,
        "total": 3_000,
        "refused": 50,
        "refused_share": 0.1,
        "records_per_s": 50.0,
        "tokens_per_s": 2_000.0,
        "seconds_left": 30.0,
    }
    assert as_line(Standing(1_500, 3_000), told) == (
        "1,500 of 3,000 records, 50 records/s, 2,000 tokens/s, 10.0% refused, 0:00:30 left"
    )


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with shown_standing("auto") as progress:
        progress(Standing(1_234, 5_000))
    assert "1234/5000" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())


def test_a_program_gets_json(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_standing("json") as progress:
        progress(Standing(0, 2))
        progress(Standing(2, 2, refused=1, tokens=7))
    first, last = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["done"], first["seconds_left"]) == (0, None)
    assert (last["done"], last["refused"], last["refused_share"]) == (2, 1, 0.5)


def test_a_short_run_writes_no_lines(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("auto", "off"):
        with shown_standing(kind) as progress:
            progress(Standing(0, 1))
            progress(Standing(1, 1))
    assert capsys.readouterr().err == ""
