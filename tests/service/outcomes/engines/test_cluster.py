"""Outcomes computed on a cluster of two nodes, which are real processes; one may die."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.answers.predictor import Predictor
from service.outcomes.answering import Failure
from service.outcomes.columns import WantedColumns
from service.outcomes.engines.engine import EngineStopped
from service.outcomes.engines.local import compute
from service.outcomes.engines.worker import WorkerOrder
from service.outcomes.records import Values
from service.settings import read_settings
from tests.service.files.scored import texts_of_many_lengths
from tests.service.outcomes.engines.nodes import ENVIRONMENT, Cluster, started_cluster

if importlib.util.find_spec("ray") is None:
    pytest.skip("ray is not installed: pip install -e '.[ray]'", allow_module_level=True)

from service.outcomes.engines.cluster import open_cluster

WAIT_S = 180.0


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with started_cluster() as cluster:
        yield cluster


def records_of(count: int) -> list[Values | Failure]:
    """Records, of which one in ten has no text and one in a hundred could not be read."""
    records: list[Values | Failure] = [{"text": text} for text in texts_of_many_lengths(count)]
    for number in range(0, count, 10):
        records[number] = {"text": " "}
    for number in range(5, count, 100):
        records[number] = Failure("unreadable_record", f"torn at {number}")
    return records


def test_a_run_that_loses_a_node_gives_every_outcome_once_in_order(
    cluster: Cluster, predictor: Predictor, package: Path
) -> None:
    records, said = records_of(24_000), list[str]()
    order = WorkerOrder.of(predictor, read_settings(packages=[package]), WantedColumns())

    def losing() -> Iterator[Values | Failure]:
        for number, record in enumerate(records):
            # By then both workers have begun, also where one came much later.
            if number == 18_000:
                cluster.lose_second()
            yield record

    with open_cluster(order, cluster.address, deadline_s=WAIT_S, say=said.append) as engine:
        outcomes = list(engine(losing()))
        assert outcomes == list(compute(predictor, records, order.wanted))
        assert said, "no worker was lost"
        # The engine may be asked again, with the worker that is left.
        assert list(engine(records[:700])) == outcomes[:700]
        assert list(engine([])) == []


def test_a_run_ends_where_a_machine_has_another_package(cluster: Cluster, package: Path) -> None:
    order = WorkerOrder(
        endpoint="sentiment",
        settings=read_settings(packages=[package]),
        digest="0" * 64,
        precision="fp32",
        wanted=WantedColumns(),
    )
    with (
        open_cluster(order, cluster.address, deadline_s=WAIT_S) as engine,
        pytest.raises(EngineStopped, match="copy the package there, to the same path"),
    ):
        list(engine(records_of(10)))


def test_a_cluster_says_in_one_sentence_why_it_gives_nothing(predictor: Predictor, package: Path) -> None:
    order = WorkerOrder.of(predictor, read_settings(packages=[package]), WantedColumns())
    nobody = "127.0.0.2:9"
    with (
        pytest.raises(EngineStopped, match=f"{nobody}: Ray cannot be reached there"),
        open_cluster(order, nobody, deadline_s=WAIT_S),
    ):
        pass
