"""The counters: right with several workers, and with labels that callers cannot add to."""

import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from export.figures.reference import Reference
from models.tasks import TRAINED
from models.tasks.ner import NER
from models.tasks.sentiment import SENTIMENT
from models.tasks.sts import STS
from models.tasks.task import AnyTask, TaskAnswer
from service.answers.contract import ModelName, result_type
from service.server.metrics import Metrics
from service.watching.window import HOUR_S
from tests.service.conftest import ROOT, Server, wait_for

MODEL = ModelName(task="sentiment", name="tiny", digest="d1", method="plain", precision="fp32")
PLACE = {
    "index": 0,
    "id": None,
    "tokens": 3,
    "windows": 1,
    "unknown_share": 0.0,
    "certificate": None,
    "explanation": None,
}


def read(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(text: bytes, name: str, **labels: str) -> float:
    """The sum of all samples of that name with these labels."""
    return sum(
        number
        for (sample, its), number in read(text).items()
        if sample == f"steadfast_{name}" and labels.items() <= its
    )


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def sentiment(label: str, score: float, truncated: bool = False) -> Any:
    return result_type(SENTIMENT)(label=label, score=score, scores=(), truncated=truncated, **PLACE)


def test_requests_are_counted_by_route_and_code(metrics: Metrics) -> None:
    for status in (200, 200, 422):
        metrics.request("/v1/sentiment", status, 0.02, "validation" if status == 422 else None)
    text = metrics.render({})
    assert value(text, "requests_total", route="/v1/sentiment", code="200") == 2
    assert value(text, "requests_total", route="/v1/sentiment", code="422") == 1
    assert value(text, "rejections_total", reason="validation") == 1
    assert value(text, "request_seconds_bucket", le="0.025") == 3
    assert value(text, "request_seconds_bucket", le="0.01") == 0


def test_labels_and_their_probabilities_are_counted(metrics: Metrics) -> None:
    metrics.answers(MODEL, [sentiment("good", 0.97), sentiment("good", 0.55), sentiment("bad", 0.7, truncated=True)])
    text = metrics.render({})
    assert value(text, "predictions_total", label="good", task="sentiment", model="tiny") == 2
    assert value(text, "predictions_total", label="bad") == 1
    assert value(text, "confidence_bucket", le="0.7") == 2
    assert value(text, "confidence_count") == 3
    assert value(text, "truncated_items_total") == 1


def test_the_bins_of_answers_are_counted_by_the_digest_of_their_package(metrics: Metrics) -> None:
    assert value(metrics.render({}), "watched_total") == 0
    metrics.watch(MODEL, [sentiment("good", 0.97), sentiment("good", 0.55), sentiment("bad", 0.96)])
    metrics.watch(MODEL.model_copy(update={"digest": "d2"}), [sentiment("bad", 0.7)])
    text = metrics.render({})
    assert value(text, "watched_total", digest="d1", signal="label", bin="good", task="sentiment", model="tiny") == 2
    assert value(text, "watched_total", digest="d1", signal="confidence", bin="0.95+") == 2
    assert value(text, "watched_total", digest="d1", signal="length", bin="0-8") == 3
    assert value(text, "watched_total", digest="d1", signal="unknown_share") == 3
    assert value(text, "watched_total", digest="d2", signal="label") == 1


def test_each_entity_is_a_prediction(metrics: Metrics) -> None:
    entities = [{"label": "LOC", "text": "a", "start": 0, "end": 1, "score": 0.8}] * 2
    metrics.answers(MODEL, [result_type(NER)(entities=entities, truncated=False, **PLACE)])
    assert value(metrics.render({}), "predictions_total", label="LOC") == 2


def test_a_similarity_is_no_confidence(metrics: Metrics) -> None:
    metrics.answers(MODEL, [result_type(STS)(score=4.2, normalized=0.84, truncated=False, **PLACE)])
    assert value(metrics.render({}), "confidence_count") == 0


def test_an_answer_that_does_not_say_what_to_count_cannot_be_made() -> None:
    class Uncounted(TaskAnswer):
        pass

    with pytest.raises(TypeError, match="judgements"):
        Uncounted()  # type: ignore[abstract]


@pytest.mark.parametrize("task", TRAINED.values(), ids=TRAINED)
def test_every_answer_says_what_to_count(task: AnyTask) -> None:
    assert not inspect.isabstract(task.answer)


def test_batches_and_the_queue_are_measured(metrics: Metrics) -> None:
    metrics.batch(rows=8, tokens=90, padded=100)
    metrics.queue(rows=5, tokens=60)
    text = metrics.render({})
    assert value(text, "batch_rows_sum") == 8
    assert value(text, "batch_tokens_sum") == 90
    assert value(text, "batch_padding_share_sum") == pytest.approx(0.1)
    assert (value(text, "queue_rows"), value(text, "queue_tokens")) == (5, 60)


def test_a_model_that_answers_no_more_is_shown_as_gone(metrics: Metrics) -> None:
    metrics.render({MODEL: {"accuracy": 0.9}})
    text = metrics.render({MODEL.model_copy(update={"digest": "d2"}): {"accuracy": 0.8}})
    assert b'digest="d1"' not in text
    assert value(text, "model_info", digest="d2", method="plain", precision="fp32") == 1
    assert value(text, "model_figure", digest="d2", figure="accuracy") == 0.8


def test_a_model_shows_what_its_package_says_of_itself(metrics: Metrics) -> None:
    text = metrics.render({MODEL: {"accuracy": 0.9, "typos-1": 0.7}})
    assert value(text, "model_figure", task="sentiment", digest="d1", figure="typos-1") == 0.7
    assert value(text, "model_figure", model="tiny", figure="accuracy") == 0.9


def test_stages_are_timed_by_model(metrics: Metrics) -> None:
    metrics.stages(MODEL, queue=0.5, infer=0.25)
    text = metrics.render({})
    assert value(text, "queue_seconds_sum", task="sentiment", model="tiny") == 0.5
    assert value(text, "infer_seconds_count") == 1
    assert value(text, "explain_seconds_count") == 0


COUNT = """
import sys
from service.server.metrics import Metrics
from service.watching.window import HOUR_S
metrics = Metrics(int(sys.argv[1]))
metrics.request("/", 200, 0.1, None)
metrics.queue(3, 30)
sys.stdout.buffer.write(metrics.render({}))
"""


def count_as(worker: int, folder: Path) -> bytes:
    """The counters as text from a process that counts one request as this worker, and then ends."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-c", COUNT, str(worker)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout


def test_a_worker_that_is_started_again_goes_on_counting_in_the_same_files(tmp_path: Path) -> None:
    count_as(1, tmp_path)
    files = set(tmp_path.iterdir())
    text = count_as(1, tmp_path)
    assert set(tmp_path.iterdir()) == files
    assert value(text, "requests_total") == 2
    assert value(text, "queue_rows") == 3
    both = count_as(2, tmp_path)
    assert value(both, "requests_total") == 3
    assert value(both, "queue_rows") == 6


def scrape(server: Server) -> bytes:
    return httpx.get(f"http://127.0.0.1:{server.port}/metrics").content


def test_any_worker_tells_what_all_have_counted(pair: Server) -> None:
    def counted() -> tuple[float, float]:
        text = scrape(pair)
        answered = value(text, "requests_total", route="/v1/sentiment", code="200")
        return answered, value(text, "predictions_total", label="negative")

    answered, negative = counted()
    for _ in range(12):
        response = httpx.post(f"http://127.0.0.1:{pair.port}/v1/sentiment", json={"inputs": ["good", "awful"]})
        assert response.status_code == 200
    # A request is counted after its answer. Asked several times, so that both workers are likely to tell.
    wait_for(lambda: counted() == (answered + 12, negative + 12))
    assert [counted() for _ in range(6)] == [(answered + 12, negative + 12)] * 6
    text = scrape(pair)
    assert value(text, "infer_seconds_count", task="sentiment") >= 12
    assert value(text, "model_info", task="sentiment") == 1


def test_counters_never_go_back_when_a_worker_is_killed(pair: Server) -> None:
    httpx.post(f"http://127.0.0.1:{pair.port}/v1/sentiment", json={"inputs": ["good"]})
    before = value(scrape(pair), "requests_total")
    killed = min(pair.workers())
    os.kill(killed, signal.SIGKILL)
    assert value(scrape(pair), "requests_total") >= before
    wait_for(lambda: len(pair.workers() - {killed}) == 2)
    assert value(scrape(pair), "requests_total") >= before


def test_metrics_take_a_key_where_there_are_keys(start_server: Callable[..., Server], package: Path) -> None:
    server = start_server(package, api_keys="a-key")
    assert server.client.get("/metrics").status_code == 401
    response = server.client.get("/metrics", headers={"Authorization": "Bearer a-key"})
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert value(response.content, "rejections_total", reason="unauthorized") >= 1


def test_a_package_that_comes_back_is_compared_by_what_came_since(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = [sentiment("positive", 0.99)] * 600
    reference = Reference.of_results("usual", usual)
    other = MODEL.model_copy(update={"digest": "d2"})

    def drift(model: ModelName, hours: int) -> float:
        monkeypatch.setattr("service.server.metrics.time.monotonic", lambda: hours * HOUR_S)
        return value(metrics.render({}, {model: reference}), "drift", signal="label")

    metrics.watch(MODEL, [sentiment("negative", 0.99)] * 600)
    assert drift(MODEL, 0) == 1
    assert drift(other, 2) == 0
    metrics.watch(MODEL, usual)
    assert drift(MODEL, 4) == 0
