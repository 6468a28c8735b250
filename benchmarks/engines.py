"""Whether every way to compute gives equal outcomes, and what a record costs: in this process, in Python, on Ray.

    python -m benchmarks.engines [--rows 5000] [--address HOST:PORT] [TASK ...]

CPU time is that of this process and of all that Ray runs below it, but for the start of the workers.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil
import rich

from models.tasks import ENDPOINTS
from service.answers.opening import open_predictor
from service.outcomes.columns import WantedColumns
from service.outcomes.engines.cluster import open_cluster
from service.outcomes.engines.local import compute
from service.outcomes.engines.worker import WorkerOrder
from service.settings import read_settings
from steadfast import load

DEADLINE_S = 600.0


def report(rows: int, tasks: list[str], address: str | None) -> Iterator[str]:
    """A line for each task; raises AssertionError where outcomes differ."""
    for task in tasks:
        folder = Path(__file__).parents[1] / "zoo" / task
        with open_predictor(task, folder) as predictor:
            records = list(_records(predictor.task.probe_items, rows))
            wanted = WantedColumns()
            here, here_s = _timed(lambda: list(compute(predictor, records, wanted)))  # noqa: B023
            with load(task, package=folder) as model:
                results = model.score([{**record} for record in records])
            assert [result.tokens for result in results] == [outcome.columns["tokens"] for outcome in here], task
            order = WorkerOrder.of(predictor, read_settings(), wanted)
            with open_cluster(order, address, deadline_s=DEADLINE_S, say=rich.get_console().print) as engine:
                # The workers start with the first records.
                list(engine(records[:8]))
                there, there_s = _timed(lambda: list(engine(records)))  # noqa: B023
            assert there == here, task
        yield f"{task}: {rows:,} equal; CPU time {1000 * here_s / rows:.2f} ms here, {there_s / here_s:.2f} x on Ray"


def _records(items: tuple[dict[str, Any], ...], rows: int) -> Iterator[dict[str, Any]]:
    """Probe items over and over, but for the last one, which is very long."""
    return islice(cycle(items[:-1]), rows)


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    before = _cpu_s()
    done = run()
    # Ray counts what its processes have used a little later.
    time.sleep(0.2)
    return done, _cpu_s() - before


def _cpu_s() -> float:
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True)) if process.is_running()]
    return sum(one.user + one.system for one in times)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", default=list(ENDPOINTS))
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--address")
    given = parser.parse_args()
    for line in report(given.rows, given.tasks, given.address):
        rich.get_console().print(line, soft_wrap=True)
