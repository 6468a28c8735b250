"""Several models for one task, replaced while they answer."""

import gc
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from export.package import Package, open_package, write_manifest
from service.answers.contract import Options
from service.answers.opening import ProbeFailed, start_predictor
from service.answers.packages import open_packages
from service.answers.predictor import Predictor
from service.cli.inputs import read_items
from service.engine.errors import EngineClosed
from service.engine.model_queue import ModelQueue
from service.engine.pool import Pool
from service.server.problems import Problem
from service.server.registry import ModelRegistry, start_predictors
from service.settings import Settings
from tests.service.conftest import Server, wait_for
from tests.service.tiny import build_package, reseal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build_package(tmp_path / "a", name="first")


@pytest.fixture
def open_registry() -> Iterator[Callable[..., ModelRegistry]]:
    """A function that loads packages into a registry; all are closed at the end."""
    registries: list[ModelRegistry] = []

    def open_them(*packages: Path) -> ModelRegistry:
        registries.append(ModelRegistry(Settings(packages=packages, threads=1)))
        registries[-1].start_loading()
        wait_for(lambda: registries[-1].is_ready)
        return registries[-1]

    yield open_them
    for registry in registries:
        registry.close()


def replace_package(folder: Path, name: str) -> str:
    """Put another package in the place of one; returns the digest of the new one."""
    shutil.rmtree(folder)
    return open_package(build_package(folder, name=name)).manifest.digest


def label(registry: ModelRegistry, text: str, name: str | None = None) -> str:
    with registry.using("sentiment", name) as predictor:
        (result,) = predictor.answer(read_items(predictor.task, [text]), Options()).results
    found: str = result.label
    return found


def serving(registry: ModelRegistry) -> list[str]:
    return [predictor.name.name for predictor in registry.predictors]


def engine_threads() -> int:
    return sum(thread.name.startswith("engine-") for thread in threading.enumerate())


def test_a_model_is_chosen_by_name_and_the_first_without(
    open_registry: Callable[..., ModelRegistry], folder: Path, tmp_path: Path
) -> None:
    registry = open_registry(folder, build_package(tmp_path / "b", name="second"))
    for asked, given in ((None, "first"), ("first", "first"), ("second", "second")):
        with registry.using("sentiment", asked) as predictor:
            assert predictor.name.name == given


def test_a_model_that_is_not_there_lists_those_that_are(
    open_registry: Callable[..., ModelRegistry], folder: Path, tmp_path: Path
) -> None:
    registry = open_registry(folder, build_package(tmp_path / "b", name="second"))
    with pytest.raises(Problem, match="no such model for this task; there are: first, second") as problem:
        label(registry, "good", "third")
    assert (problem.value.code, problem.value.faults[0].pointer) == ("model_not_found", "/model")


def test_models_share_the_threads(open_registry: Callable[..., ModelRegistry], folder: Path, tmp_path: Path) -> None:
    before = engine_threads()
    open_registry(folder, build_package(tmp_path / "b", name="second"))
    assert engine_threads() == before + 1


def test_a_reload_answers_with_what_lies_there_now(open_registry: Callable[..., ModelRegistry], folder: Path) -> None:
    registry = open_registry(folder)
    digest = replace_package(folder, "newer")
    registry.reload()
    assert [predictor.name.digest for predictor in registry.predictors] == [digest]
    assert label(registry, "great") == "positive"


def test_a_model_that_is_retired_is_let_go(open_registry: Callable[..., ModelRegistry], folder: Path) -> None:
    registry = open_registry(folder)
    # What is loaded is not looked at again by the garbage collector.
    assert gc.get_freeze_count() > 0
    old = weakref.ref(registry.predictors[0])
    replace_package(folder, "second")
    registry.reload()
    wait_for(lambda: old() is None)


def test_a_reload_keeps_what_has_not_changed(open_registry: Callable[..., ModelRegistry], folder: Path) -> None:
    registry = open_registry(folder)
    before = list(registry.predictors)
    registry.reload()
    assert list(registry.predictors) == before


@pytest.mark.parametrize("damage", ["graph", "manifest", "missing", "probes", "no graph"])
def test_a_package_that_cannot_be_used_leaves_the_old_models_in_place(
    open_registry: Callable[..., ModelRegistry], folder: Path, damage: str
) -> None:
    registry = open_registry(folder)
    before = list(registry.predictors)
    replace_package(folder, "newer")
    if damage == "graph":
        (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-1])
    elif damage == "manifest":
        (folder / "package.json").write_text("{}")
    elif damage == "missing":
        shutil.rmtree(folder)
    elif damage == "probes":
        probe = open_package(folder).manifest.probes[0]
        wrong = probe.model_copy(update={"outputs": {"logits": [[9.0, 9.0]]}})
        reseal(folder, probes=[wrong.model_dump()])
    else:
        manifest = open_package(folder).manifest
        (folder / "package.json").unlink()
        (folder / "model.onnx").write_bytes(b"no graph")
        write_manifest(folder, manifest)
    reason = "the server's log says why" if damage == "no graph" else str(folder)
    with pytest.raises(Problem, match=f"the models are what they were: .*{reason}") as problem:
        registry.reload()
    assert problem.value.code == "reload_failed"
    assert list(registry.predictors) == before
    assert label(registry, "awful") == "negative"


def test_what_is_under_way_ends_with_the_model_it_began_with(
    open_registry: Callable[..., ModelRegistry], folder: Path
) -> None:
    registry = open_registry(folder)
    with registry.using("sentiment") as old:
        replace_package(folder, "newer")
        registry.reload()
        assert serving(registry) == ["newer"]
        (result,) = old.answer(read_items(old.task, ["great"]), Options()).results
        assert result.label == "positive"
    items = read_items(old.task, ["great"])
    wait_for(lambda: is_closed(lambda: old.submit(items, Options())))


def is_closed(submit: Callable[[], object]) -> bool:
    try:
        submit()
    except EngineClosed:
        return True
    return False


def test_no_request_fails_while_models_are_exchanged(open_registry: Callable[..., ModelRegistry], folder: Path) -> None:
    registry = open_registry(folder)
    stop = threading.Event()

    def ask() -> int:
        answered = 0
        while not stop.is_set():
            assert label(registry, "great film") == "positive"
            answered += 1
        return answered

    with ThreadPoolExecutor(4) as callers:
        asking = [callers.submit(ask) for _ in range(4)]
        try:
            for number in range(6):
                replace_package(folder, f"number-{number}")
                registry.reload()
        finally:
            stop.set()
        assert all(each.result(30) for each in asking)
    assert serving(registry) == ["number-5"]


def test_one_reload_at_a_time(
    open_registry: Callable[..., ModelRegistry], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = open_registry(folder)
    entered, go_on = threading.Event(), threading.Event()

    def hold_up(_: Settings) -> tuple[()]:
        entered.set()
        assert go_on.wait(30)
        return ()

    monkeypatch.setattr("service.server.registry.open_packages", hold_up)
    registry.start_reload()
    assert entered.wait(30)
    with pytest.raises(Problem, match="being loaded already") as problem:
        registry.reload()
    assert problem.value.code == "reload_under_way"
    go_on.set()


def test_of_reloads_asked_for_meanwhile_one_is_done(
    open_registry: Callable[..., ModelRegistry], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = open_registry(folder)
    entered, go_on = threading.Semaphore(0), threading.Event()
    begun: list[Sequence[Package]] = []

    def hold_up(settings: Settings) -> Sequence[Package]:
        found = open_packages(settings)
        entered.release()
        assert go_on.wait(30)
        begun.append(found)
        return found

    monkeypatch.setattr("service.server.registry.open_packages", hold_up)
    registry.start_reload()
    assert entered.acquire(timeout=30)
    digest = replace_package(folder, "later")
    for _ in range(20):
        registry.start_reload()
    go_on.set()
    assert entered.acquire(timeout=30)
    wait_for(lambda: not any(thread.name == "load-models" for thread in threading.enumerate()))
    assert len(begun) == 2
    assert [predictor.name.digest for predictor in registry.predictors] == [digest]


class WatchedPool(Pool):
    """A pool that remembers whose queues it began and ended to serve."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.served: set[ModelQueue] = set()
        self.retired: set[ModelQueue] = set()

    def serve(self, *queues: ModelQueue) -> None:
        self.served |= set(queues)
        super().serve(*queues)

    def retire(self, *queues: ModelQueue, drain: bool) -> None:
        self.retired |= set(queues)
        super().retire(*queues, drain=drain)


def test_predictors_that_start_at_once_stand_in_the_order_of_their_packages(folder: Path, tmp_path: Path) -> None:
    names = ["first", "second", "third", "fourth"]
    packages = [open_package(folder), *(open_package(build_package(tmp_path / name, name=name)) for name in names[1:])]
    with Pool(2) as pool:
        predictors = start_predictors(packages, Settings(), pool, at_once=3)
        assert [predictor.name.name for predictor in predictors] == names
        for predictor in predictors:
            predictor.close()


def test_predictors_that_start_beside_one_that_cannot_are_closed(folder: Path, tmp_path: Path) -> None:
    bad = build_package(tmp_path / "bad", name="bad")
    probe = open_package(bad).manifest.probes[0]
    reseal(bad, probes=[probe.model_copy(update={"outputs": {"logits": [[50.0, 50.0]]}}).model_dump()])
    with WatchedPool(1) as pool:
        with pytest.raises(ProbeFailed, match="bad: probe 1"):
            start_predictors([open_package(folder), open_package(bad)], Settings(), pool, at_once=2)
        assert pool.served == pool.retired != set()


def test_a_thread_that_ends_while_it_starts_a_model_ends_the_start(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = open_package(build_package(tmp_path / "second", name="second"))

    def leave(package: Package, *others: Any) -> Predictor:
        if package == second:
            raise SystemExit("a library called sys.exit")
        return start_predictor(package, *others)

    monkeypatch.setattr("service.server.registry.start_predictor", leave)
    with WatchedPool(1) as pool:
        with pytest.raises(SystemExit, match="a library called"):
            start_predictors([open_package(folder), second], Settings(), pool, at_once=2)
        assert pool.served == pool.retired != set()


def test_a_model_that_is_replaced_by_its_fallback_is_logged(fallen: Path) -> None:
    with Pool(1) as pool, capture_logs() as logged:
        (predictor,) = start_predictors([open_package(fallen)], Settings(), pool, at_once=1)
        with predictor:
            assert predictor.name.precision == "fp32"
    (line,) = (line for line in logged if line["event"] == "fallback")
    assert (line["precision"], line["log_level"]) == ("fp32", "warning")
    assert "probe 1 is off by" in line["detail"]


def test_int8_that_gives_something_else_here_is_refused_without_fp32(unreproduced: Path) -> None:
    before = engine_threads()
    with Pool(1) as pool, pytest.raises(ProbeFailed, match=r"off by .* in int8, more than 0\.15"):
        start_predictors([open_package(unreproduced)], Settings(), pool, at_once=1)
    assert engine_threads() <= before


def test_a_server_exchanges_its_models_when_asked_to(
    start_server: Callable[..., Server], folder: Path, tmp_path: Path
) -> None:
    second = build_package(tmp_path / "b", name="second")
    faithfulness = {"rows": 3, "comprehensiveness": 0.4, "comprehensiveness_interval": [0.3, 0.5], "sufficiency": 0.1,
                    "sufficiency_interval": [0.0, 0.2], "random_comprehensiveness": 0.2, "random_sufficiency": 0.2,
                    "cost": 1.5}  # fmt: skip
    reseal(second, faithfulness={"attention": faithfulness})
    server = start_server(folder, second)
    reload = {"reload": True}
    assert server.ask(inputs=["good"], model="second").json()["model"]["name"] == "second"
    shown = server.client.get("/v1/models/sentiment").json()
    assert (shown["name"], shown["is_default"], shown["others"]) == ("first", True, ["second"])

    listed = server.client.get("/v1/models").json()["models"]
    assert [model["faithfulness"] for model in listed] == [{}, {"attention": faithfulness}]

    digest = replace_package(folder, "third")
    answered = server.client.post("/v1/models", json=reload)
    assert [(model["name"], model["is_default"]) for model in answered.json()["models"]] == [
        ("third", True),
        ("second", False),
    ]
    assert server.ask(inputs=["good"]).json()["model"]["digest"] == digest

    (folder / "model.onnx").write_bytes(b"x")
    refused = server.client.post("/v1/models", json=reload)
    assert (refused.status_code, refused.json()["code"]) == (409, "reload_failed")
    assert "model.onnx" in refused.json()["detail"]
    assert server.ask(inputs=["good"]).json()["model"]["digest"] == digest


def test_two_workers_both_exchange_their_models_and_no_request_fails(
    start_server: Callable[..., Server], folder: Path
) -> None:
    old = open_package(folder).manifest.digest
    server = start_server(folder, workers=2, threads=1)
    stop = threading.Event()
    said: list[list[str]] = [[], [], []]

    def ask(told: list[str]) -> None:
        while not stop.is_set():
            # A new connection each time, so that any of the workers takes it.
            answered = httpx.post(f"http://127.0.0.1:{server.port}/v1/sentiment", json={"inputs": ["good"]}, timeout=30)
            told.append(answered.raise_for_status().json()["model"]["digest"])

    with ThreadPoolExecutor(3) as callers:
        asking = [callers.submit(ask, told) for told in said]
        try:
            wait_for(lambda: all(map(len, said)))
            new = replace_package(folder, "second")
            server.client.post("/v1/models", json={"reload": True}).raise_for_status()
            wait_for(lambda: server.events("retired") == 2)
            # New connections, so that either worker tells.
            scraped = [httpx.get(f"http://127.0.0.1:{server.port}/metrics").text for _ in range(8)]
            seen = [len(told) for told in said]
            # One request may have been under way, and finishes with the model it began with.
            wait_for(lambda: all(len(told) > before + 1 for told, before in zip(said, seen, strict=True)))
        finally:
            stop.set()
            for each in asking:
                each.result(60)
    assert {digest for told in said for digest in told} == {old, new}
    assert all(new in text and old not in text for text in scraped)
    for told, before in zip(said, seen, strict=True):
        assert set(told[before + 1 :]) == {new}
