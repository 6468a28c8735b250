"""Drift as a running server shows it: texts like those of the reference do not move it, others do."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from export.figures.reference import Reference
from export.package import open_package
from export.publishing import Measured, measure_again
from models.tasks import TASKS
from service.answers.contract import Options
from service.answers.predictor import Predictor
from service.outcomes.answering import answer_each
from service.watching.distance import measure_distance
from tests.service.conftest import Server
from tests.service.server.test_metrics import read, value
from tests.service.tiny import OPINIONS, build_package

USUAL = [f"the film was {word}{ending}" for word in OPINIONS for ending in ("", " and not " + "very " * 9 + "fine")]
ALIKE = 0.12
"""600 draws of 12 texts are hardly ever as far as this from as many others."""


def _draw(count: int, seed: int) -> list[str]:
    return random.Random(seed).choices(USUAL, k=count)


@pytest.fixture(scope="module")
def watched(predictor: Predictor, package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny package with a reference."""
    items = [TASKS["sentiment"].item.model_validate(text) for text in _draw(2_000, seed=0)]
    answers = [one.result for one in answer_each(predictor, items, Options())]
    out = tmp_path_factory.mktemp("watched") / "tiny"
    measure_again(package, out, lambda _: Measured(reference=Reference.of_results("draw", answers)))
    return out


@pytest.fixture
def server_of(start_server: Callable[..., Server], watched: Path) -> Callable[..., Server]:
    return lambda **settings: start_server(watched, **settings)


def _send(server: Server, texts: list[str], **options: Any) -> None:
    before = value(_scrape(server), "watched_total", signal="length")
    for start in range(0, len(texts), 50):
        answer = httpx.post(
            f"http://127.0.0.1:{server.port}/v1/sentiment", json={"inputs": texts[start : start + 50], **options}
        )
        assert answer.status_code == 200, answer.text
    assert value(_scrape(server), "watched_total", signal="length") == before + len(texts)


def _scrape(server: Server) -> bytes:
    return httpx.get(f"http://127.0.0.1:{server.port}/metrics").content


def _drift(server: Server) -> dict[str, float]:
    """By signal."""
    samples = read(_scrape(server))
    return {dict(labels)["signal"]: number for (name, labels), number in samples.items() if name == "steadfast_drift"}


def _counted(server: Server, signal: str) -> dict[str, float]:
    samples = read(_scrape(server))
    return {
        dict(labels)["bin"]: number
        for (name, labels), number in samples.items()
        if name == "steadfast_watched_total" and dict(labels)["signal"] == signal
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_texts_of_one_label_move_the_gauge_and_usual_texts_do_not(
    server_of: Callable[..., Server], watched: Path, workers: int
) -> None:
    server = server_of(workers=workers, threads=1)
    reference = open_package(watched).manifest.reference
    assert reference is not None
    _send(server, _draw(450, seed=1))
    assert _drift(server) == {}, "fewer than 500 answers say nothing"
    _send(server, _draw(150, seed=2))
    usual = _drift(server)
    assert usual.keys() == {"label", "confidence", "unknown_share", "length"}
    assert max(usual.values()) < ALIKE

    _send(server, ["the film was great"] * 1_400)
    moved = _drift(server)
    assert moved["label"] > 2 * ALIKE
    assert moved["length"] > 2 * ALIKE
    assert moved["unknown_share"] > usual["unknown_share"]
    for signal, bins in reference.signals.items():
        assert moved[signal] == pytest.approx(measure_distance(_counted(server, signal), bins))
    # Every worker says the same, whichever is asked.
    assert all(_drift(server) == moved for _ in range(6))


def test_what_is_refused_explained_or_certified_counts_once_or_not_at_all(server_of: Callable[..., Server]) -> None:
    server = server_of()
    _send(server, ["good"] * 3, explain="occlusion", certify="typos")
    # A reported text has no answer.
    refused = server.ask(inputs=["good", " "], on_error="report")
    assert [one["code"] for one in refused.json()["errors"]] == ["empty_input"]
    assert server.ask(inputs=["good", " "]).status_code == 422
    assert sum(_counted(server, "length").values()) == 4
    assert _counted(server, "label") == {"positive": 4}


def test_the_reference_is_shown_as_shares_and_in_the_card(server_of: Callable[..., Server], watched: Path) -> None:
    server = server_of()
    reference = open_package(watched).manifest.reference
    assert reference is not None
    assert server.client.get("/v1/models/sentiment").json()["reference"] == reference.model_dump()
    text = _scrape(server)
    for signal in ("label", "confidence", "unknown_share", "length"):
        shares = value(text, "reference_share", task="sentiment", model="tiny", signal=signal)
        assert shares == pytest.approx(1)


def test_a_package_without_a_reference_shows_nothing_of_it(start_server: Callable[..., Server], package: Path) -> None:
    server = start_server(package)
    assert server.ask(inputs=["good"]).status_code == 200
    text = _scrape(server)
    assert value(text, "predictions_total") == 1
    shown = {name for name, _ in read(text)}
    assert not shown & {"steadfast_watched_total", "steadfast_drift", "steadfast_reference_share"}


def test_a_reload_of_another_package_begins_anew(
    start_server: Callable[..., Server], watched: Path, tmp_path: Path
) -> None:
    place = tmp_path / "tiny"
    place.symlink_to(watched)
    server = start_server(place)
    _send(server, ["the film was great"] * 600)
    assert _drift(server)["label"] > 2 * ALIKE
    reference = open_package(watched).manifest.reference
    measure_again(
        build_package(tmp_path / "other", max_tokens=31),
        tmp_path / "new",
        lambda _: Measured(reference=reference),
    )
    place.unlink()
    place.symlink_to(tmp_path / "new")
    assert server.client.post("/v1/models", json={"reload": True}).status_code == 200
    assert _drift(server) == {}
    _send(server, _draw(600, seed=3))
    assert _drift(server)["label"] < ALIKE
