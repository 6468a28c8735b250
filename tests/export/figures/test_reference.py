"""References: bins that are the same wherever answers are counted, and packages that state them or do not."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from export.figures.reference import LEAST_ANSWERS, Reference, TooFewAnswers
from export.figures.signals import BINS, STEPS, Bins, Signal, read_signals
from export.package import (
    MANIFEST_FILE,
    WrongFormat,
    open_package,
)
from export.publishing import Measured, measure_again
from models.tasks.ner import Entity, NerAnswer
from models.tasks.reading_comprehension import ReadingAnswer
from models.tasks.sentiment import SENTIMENT
from models.tasks.sts import StsAnswer
from models.tasks.task import TaskAnswer
from service.outcomes.distribution import LENGTHS, SHARES, Tally
from tests.service.tiny import build_package

SPREAD: dict[Signal, dict[str, int]] = {"label": {"positive": 300, "negative": 200}, "length": {"8-16": 500}}
REFERENCE = Reference(texts="validation", answers=500, signals=SPREAD)


def _result(answer: TaskAnswer, *, tokens: int = 9, unknown_share: float = 0.0) -> Any:
    return SimpleNamespace(**dict(answer), judgements=answer.judgements, tokens=tokens, unknown_share=unknown_share)


def _signals(answer: TaskAnswer, **beside: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for signal, name in read_signals(_result(answer, **beside)):
        found.setdefault(signal, []).append(name)
    return found


@pytest.mark.parametrize(
    ("signal", "number", "name"),
    [
        ("confidence", 0.0, "0-0.5"),
        ("confidence", 0.5, "0.5-0.6"),
        ("confidence", 0.94994, "0.9-0.95"),
        ("confidence", 0.94996, "0.95+"),
        ("confidence", 1.0, "0.95+"),
        ("unknown_share", 0.049, "0-0.05"),
        ("unknown_share", 1.0, "0.5+"),
        ("length", 2.0, "0-8"),
        ("length", 8.0, "8-16"),
        ("length", 40_000.0, "2048+"),
    ],
)
def test_a_number_is_in_the_bin_that_begins_at_or_below_it(signal: Signal, number: float, name: str) -> None:
    assert BINS[signal].find(number) == name


@given(
    signal=st.sampled_from([name for name in get_args(Signal) if name in BINS]),
    numbers=st.lists(st.integers(0, STEPS), min_size=1),
)
def test_the_bins_of_a_summary_give_the_same_counts(signal: Signal, numbers: list[int]) -> None:
    bins = BINS[signal]
    given_ = [number / bins.steps for number in numbers]
    tally = Tally(SHARES if bins.steps > 1 else LENGTHS, bins.steps)
    one_by_one: dict[str, int] = {}
    for number in given_:
        tally.add(number)
        one_by_one[bins.find(number)] = one_by_one.get(bins.find(number), 0) + 1
    summed = tally.distribution()
    assert summed is not None
    assert bins.gather(summed.edges, summed.counts) == one_by_one


def test_bins_that_cannot_be_gathered_are_refused() -> None:
    with pytest.raises(ValueError, match="not all of"):
        Bins((0.0, 0.5)).gather((0.0, 0.4, 1.0), (1, 2))


def test_an_answer_has_the_signals_that_make_sense_for_its_task() -> None:
    label = SENTIMENT.answer(label="positive", score=0.97, scores=())
    assert _signals(label, unknown_share=0.2) == {
        "unknown_share": ["0.2-0.3"], "length": ["8-16"], "confidence": ["0.95+"], "label": ["positive"],
    }  # fmt: skip
    entities = tuple(Entity(label=kind, text="x", start=0, end=1, score=0.7) for kind in ("person", "group", "person"))
    assert _signals(NerAnswer(entities=entities))["label"] == ["person", "group", "person"]
    assert _signals(NerAnswer(entities=()))["label"] == ["(none)"]
    assert _signals(StsAnswer(score=4.6, normalized=0.92)) == {
        "unknown_share": ["0-0.05"], "length": ["8-16"], "similarity": ["0.9+"],
    }  # fmt: skip
    # Its place among the choices says nothing, and its text would make a series of its own.
    choice = ReadingAnswer(answer="a", choice=0, score=0.5, scores=())
    assert set(_signals(choice)) == {"unknown_share", "length", "confidence"}


def test_a_manifest_from_before_there_were_references_keeps_its_digest(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "tiny")
    content = json.loads((folder / MANIFEST_FILE).read_bytes())
    del content["reference"], content["digest"]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (folder / MANIFEST_FILE).write_text(json.dumps(content | {"digest": digest}))
    manifest = open_package(folder).manifest
    assert (manifest.digest, manifest.reference) == (digest, None)


def test_a_reference_changes_the_digest_and_no_other_file(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "tiny")
    before = open_package(folder).manifest
    made = measure_again(folder, tmp_path / "new" / "tiny", lambda _: Measured(reference=REFERENCE))
    after = open_package(tmp_path / "new" / "tiny").manifest
    assert after == made
    assert after.reference == REFERENCE
    assert after.digest != before.digest
    assert after.model_copy(update={"reference": None, "digest": before.digest}) == before


@pytest.mark.parametrize(
    ("signals", "said"),
    [
        ({"length": {"8-9": 500}}, "length has no bin '8-9'"),
        ({"confidence": {}}, "confidence has no bins; leave it out"),
        ({"mood": {"good": 1}}, "should be 'label'"),
        ({"label": {"positive": 0}}, "greater than 0"),
    ],
)
def test_a_reference_that_no_server_could_compare_with_is_refused(
    tmp_path: Path, signals: dict[str, Any], said: str
) -> None:
    folder = build_package(tmp_path / "tiny")
    content = json.loads((folder / MANIFEST_FILE).read_bytes())
    content["reference"] = {"texts": "validation", "answers": 500, "signals": signals}
    (folder / MANIFEST_FILE).write_text(json.dumps(content))
    with pytest.raises(WrongFormat, match="reference") as refused:
        open_package(folder)
    with pytest.raises(ValidationError, match=said):
        Reference.model_validate(content["reference"])
    assert "was it made by another version" in str(refused.value)


def test_bins_stand_in_their_order() -> None:
    counts: dict[Signal, dict[str, int]] = {"length": {"16-32": 1, "128-256": 2, "0-8": 3}, "label": {"b": 1, "a": 2}}
    found = Reference.of_counts("all", LEAST_ANSWERS, counts).signals
    assert [(name, list(bins)) for name, bins in found.items()] == [
        ("label", ["a", "b"]), ("length", ["0-8", "16-32", "128-256"]),
    ]  # fmt: skip


def test_too_few_answers_make_no_reference() -> None:
    answer = _result(SENTIMENT.answer(label="positive", score=0.97, scores=()))
    assert Reference.of_results("all", [answer] * LEAST_ANSWERS).answers == LEAST_ANSWERS
    with pytest.raises(TooFewAnswers, match="validation: 499 answers say too little of what is usual; give 500 texts"):
        Reference.of_results("validation", [answer] * (LEAST_ANSWERS - 1))
    with pytest.raises(TooFewAnswers, match="0 answers"):
        Reference.of_results("validation", [])
