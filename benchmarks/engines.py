"""Whether every way to ask gives equal labels and scores, and what a record costs in each.

    python -m benchmarks.engines [--rows 5000] [--address HOST:PORT] [TASK ...]

The ways are this process, `steadfast.load` in Python, the command `score`, HTTP to a server that is started for it, and
Ray. Every column of an answer is compared without a tolerance. CPU time is that of all processes of a way, but for the
start of servers and of Ray's workers.
"""

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import rich

from benchmarks.serving import serving
from benchmarks.texts import make_mixed_texts
from models.errors import UserError
from models.tasks import ENDPOINTS, check_endpoint
from models.tasks.task import AnyTask
from service.answers.opening import open_predictor
from service.answers.predictor import Predictor
from service.client.client import Client
from service.outcomes.columns import WantedColumns, as_columns
from service.outcomes.engines.engine import EngineStopped
from service.outcomes.engines.local import compute
from service.outcomes.engines.worker import WorkerOrder
from service.settings import read_settings
from steadfast import load

ROOT = Path(__file__).parents[1]
DEADLINE_S = 600.0
FIRST = 8
"""Records that are asked for before CPU time counts, so that everything has started."""
WORDS = (2, 200)
"""Fewest and most words that are put behind the first text of a record."""
FEW_WORDS = (1, 4)
"""Those behind its other texts, which must stand whole in every window."""

Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Way:
    """The answers of one way, and the CPU time that they took."""

    name: str
    answers: Sequence[Columns]
    cpu_s: float
    stopped: str | None = None
    """Why it gave no answers."""


def report(rows: int, tasks: Sequence[str], address: str | None) -> Iterator[str]:
    """A table with a line for each task, and a last line that says whether all answers are equal."""
    yield f"{'task':<24}{'rows':>7}  {'ms here':>8}  {'Python':>8}  {'score':>8}  {'HTTP':>8}  {'Ray':>8}  answers"
    good = True
    for task in tasks:
        first, *others = ask_every_way(task, ROOT / "zoo" / task, rows, address)
        wrong = [said for way in others if (said := differs(first.answers, way))]
        good = good and not wrong
        costs = "".join(f"  {'-':>8}" if way.stopped else f"  {way.cpu_s / first.cpu_s:>6.2f} x" for way in others)
        yield f"{task:<24}{rows:>7,}  {1000 * first.cpu_s / rows:>8.2f}{costs}  {'; '.join(wrong) or 'all equal'}"
    yield "as it must be: every way gives equal answers" if good else "NOT as it must be: answers differ or are missing"


def differs(expected: Sequence[Columns], way: Way) -> str:
    """How the answers of a way differ from those expected; empty where they are equal."""
    if way.stopped:
        return f"{way.name}: {way.stopped}"
    if len(way.answers) != len(expected):
        return f"{way.name}: {len(way.answers):,} answers"
    wrong = [place for place, pair in enumerate(zip(expected, way.answers, strict=True), 1) if pair[0] != pair[1]]
    return f"{way.name}: {len(wrong):,} differ, the first is {wrong[0]:,}" if wrong else ""


def make_records(task: AnyTask, rows: int) -> list[dict[str, Any]]:
    """Items that all differ: each text is that of a probe item, and some words behind it."""
    # The last probe item is as long as a model can read.
    probes, draw = task.probe_items[:-1], random.Random(0)
    fields = list(probes[0])
    tails = {
        field: iter(make_mixed_texts(rows, words=FEW_WORDS if place else WORDS, seed=place))
        for place, field in enumerate(fields)
    }

    def value(field: str) -> Any:
        drawn = draw.choice(probes)[field]
        return f"{drawn} {next(tails[field])}" if isinstance(drawn, str) else drawn

    return [{field: value(field) for field in fields} for _ in range(rows)]


def ask_every_way(task: str, package: Path, rows: int, address: str | None) -> list[Way]:
    """The answers of a package to the same records, first those of this process."""
    with open_predictor(task, package) as predictor:
        records, wanted = make_records(predictor.task, rows), WantedColumns()
        outcomes, cpu_s = _timed(lambda: list(compute(predictor, records, wanted)))
        here = Way("here", [outcome.columns for outcome in outcomes], cpu_s)
        types = frozenset(name for columns in here.answers for name in columns)
        return [
            here,
            _ask_python(task, package, records),
            _ask_command(task, package, records, types),
            _ask_server(task, package, records),
            _ask_ray(predictor, records, wanted, address),
        ]


def _ask_python(task: str, package: Path, records: Sequence[Columns]) -> Way:
    with load(task, package=package) as model:
        results, cpu_s = _timed(lambda: model.score(records))
    return Way("Python", [as_columns(result) for result in results], cpu_s)


def _ask_command(task: str, package: Path, records: Sequence[Columns], names: frozenset[str]) -> Way:
    """Score a file of JSON lines; a run over the first records alone is taken off the time."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"
        words = ["score", task, str(source), "-o", str(target), "--package", str(package), "--overwrite"]

        def run(part: Sequence[Columns]) -> list[dict[str, Any]]:
            source.write_text("".join(json.dumps(record) + "\n" for record in part))
            subprocess.run([sys.executable, "-m", "service.cli", *words], cwd=ROOT, check=True, capture_output=True)
            return [json.loads(line) for line in target.read_text().splitlines()]

        _, start_s = _timed(lambda: run(records[:FIRST]))
        rows, cpu_s = _timed(lambda: run(records))
    # What an answer lacks is null in a file.
    answers = [{name: value for name, value in row.items() if name in names and value is not None} for row in rows]
    return Way("score", answers, cpu_s - start_s)


def _ask_server(task: str, package: Path, records: Sequence[Columns]) -> Way:
    with serving([package]) as server, Client(server.url) as client:
        client.ask(task, records[:FIRST])
        answers, cpu_s = _timed(lambda: client.ask(task, records))
    return Way("HTTP", [as_columns(result) for result in answers.results], cpu_s)


def _ask_ray(predictor: Predictor, records: Sequence[Columns], wanted: WantedColumns, address: str | None) -> Way:
    # Ray is an extra, and the rest of this module does without it.
    from service.outcomes.engines.cluster import open_cluster

    order = WorkerOrder.of(predictor, read_settings(), wanted)
    try:
        with open_cluster(order, address, deadline_s=DEADLINE_S, say=rich.get_console().print) as engine:
            # The workers start with the first records.
            list(engine(records[:FIRST]))
            outcomes, cpu_s = _timed(lambda: list(engine(records)))
    except EngineStopped as error:
        return Way("Ray", [], math.nan, str(error))
    return Way("Ray", [outcome.columns for outcome in outcomes], cpu_s)


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    before = _cpu_s()
    done = run()
    # Ray counts what its processes have used a little later.
    time.sleep(0.2)
    return done, _cpu_s() - before


def _cpu_s() -> float:
    """The CPU time of this process, of those that it waited for, and of those that run below it."""
    me = psutil.Process()
    mine = me.cpu_times()
    others = [process.cpu_times() for process in me.children(recursive=True) if process.is_running()]
    return mine.children_user + mine.children_system + sum(one.user + one.system for one in (mine, *others))


def main() -> None:
    """Print the table; ends with 1 where answers differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", default=list(ENDPOINTS))
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--address")
    given = parser.parse_args()
    try:
        tasks = [check_endpoint(task) for task in given.tasks]
    except UserError as error:
        sys.exit(str(error))
    said = ""
    for said in report(given.rows, tasks, given.address):
        rich.get_console().print(said, soft_wrap=True, highlight=False)
    sys.exit("NOT" in said)


if __name__ == "__main__":
    main()
