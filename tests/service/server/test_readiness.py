"""A server answers only with models that reproduce their probes, and takes only as many rows as it can hold."""

import json
import math
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from export.package import MANIFEST_FILE, open_package
from service.answers.opening import ProbeFailed, check_probes
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import Pool
from service.server.problems import Problem
from service.server.registry import ModelRegistry
from service.settings import Settings
from tests.service.conftest import Server, wait_for
from tests.service.tiny import reseal


@pytest.fixture
def strange(package: Path, tmp_path: Path) -> Path:
    """A package that does not reproduce one of its probes."""
    folder = Path(shutil.copytree(package, tmp_path / "strange"))
    probe = json.loads((folder / MANIFEST_FILE).read_bytes())["probes"][0]
    probe["outputs"]["logits"][0][0] += 0.05
    reseal(folder, probes=[probe])
    return folder


def test_probes_that_reproduce_pass(predictor: Predictor) -> None:
    check_probes(predictor)


def test_a_probe_that_does_not_reproduce_names_its_package(strange: Path) -> None:
    with (
        Pool(1) as pool,
        Predictor(open_package(strange), EngineLimits(), pool) as predictor,
        pytest.raises(ProbeFailed, match=rf"{strange}: probe 1 is off by 0\.05"),
    ):
        check_probes(predictor)


def test_a_probe_that_gives_no_number_does_not_pass(predictor: Predictor) -> None:
    probe = predictor.package.manifest.probes[0]
    rollout = [[math.nan] * len(row) for row in probe.outputs["rollout"]]
    assert math.isinf(predictor.replay(probe.model_copy(update={"outputs": probe.outputs | {"rollout": rollout}})))


def test_a_server_whose_probes_fail_is_alive_but_never_ready(
    start_server: Callable[..., Server], strange: Path
) -> None:
    server = start_server(strange, ready=False)
    wait_for(lambda: any(line["event"] == "not_ready" for line in server.log_lines()))
    (line,) = (line for line in server.log_lines() if line["event"] == "not_ready")
    assert (line["exception"], line["where"][-1].split()[-1]) == ("ProbeFailed", "check_probes")
    assert server.client.get("/livez").status_code == 200
    for response in (server.client.get("/readyz"), server.client.get("/v1/models"), server.ask(inputs=["a"])):
        assert (response.status_code, response.json()["code"]) == (503, "not_ready")


def test_models_that_cannot_be_loaded_leave_no_threads_behind(strange: Path) -> None:
    before = set(threading.enumerate())
    registry = ModelRegistry(Settings(packages=(strange,)))
    registry.start_loading()
    # Only our own threads, by their names: libraries start threads whenever they like.
    wait_for(
        lambda: (
            not any(
                thread.name.startswith(("engine-", "load-models")) for thread in set(threading.enumerate()) - before
            )
        )
    )
    with pytest.raises(Problem, match="could not be loaded"):
        registry.for_endpoint("sentiment")


def test_what_does_not_fit_into_the_queue_is_told_when_to_come_again(
    start_server: Callable[..., Server], package: Path
) -> None:
    server = start_server(package, threads=1, queued_rows=1)
    long = ["good film " * 1_500] * 12
    with ThreadPoolExecutor(4) as callers:
        responses = list(callers.map(lambda _: server.ask(inputs=long), range(4)))
    assert {response.status_code for response in responses} == {200, 429}
    refused = next(response for response in responses if response.status_code == 429)
    assert refused.json()["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) >= 1
    assert server.ask(inputs=["good"]).status_code == 200
