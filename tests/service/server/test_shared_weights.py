"""Workers and commands share packed weights, and do without where that is not possible."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from tests.service.conftest import ROOT, Server, steadfast

ZOO = ROOT / "zoo" / "sentiment"


def weights(pid: int) -> set[str]:
    """The files of packed weights that a process has mapped."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split()[-1] for line in lines if line.endswith("weights.bin")}


def test_two_workers_map_the_same_weights_and_give_the_same_answers_as_one_without(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(ZOO, workers=2, threads=1, cache=tmp_path)
    one, other = map(weights, server.workers())
    assert one == other != set()
    assert {line["level"] for line in server.log_lines()} == {"info"}
    asked = {"inputs": ["a joy from start to end", "dull"], "explain": "attention"}
    alone = start_server(ZOO, threads=1, cache="off")
    assert server.ask(**asked).json()["results"] == alone.ask(**asked).json()["results"]
    assert weights(*alone.workers()) == set()


def test_a_server_without_a_usable_cache_says_so_once_and_answers(
    start_server: Callable[..., Server], package: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    server = start_server(package, cache=tmp_path / "file")
    warnings = [line["event"] for line in server.log_lines() if line["level"] == "warning"]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{tmp_path / 'file'}: File exists; processes do not share weights")
    assert server.ask(inputs=["good"]).json()["results"][0]["label"] == "positive"


def test_a_command_without_a_usable_cache_says_so_beside_its_answer(package: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for cache, lines in ((tmp_path / "file", 1), ("off", 0), (tmp_path / "cache", 0)):
        environment = os.environ | {"STEADFAST_CACHE": str(cache)}
        completed = steadfast("predict", "sentiment", "awful", "--json", "--package", package, env=environment)
        assert json.loads(completed.stdout)[0]["label"] == "negative"
        assert len(completed.stderr.splitlines()) == lines
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["prepacked"]
