"""The cost of `steadfast attack`: candidates a second of CPU time, beside the rows of `score` on the same texts."""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.texts import make_texts
from models.attack.settings import AttackSettings
from models.attack.subjects import load_subjects
from models.tasks.task import Item
from service.answers.contract import Options
from service.answers.opening import open_measured
from service.answers.predictor import Predictor
from service.attacks.run import Campaign
from service.attacks.victims import package_victim
from service.files.job import ScoringJob
from service.files.scoring import score_file
from service.files.target import Target

TEXTS = 40
ROUNDS = 3
BOUNDS = AttackSettings(family="typos", words="2", candidates=24)
LEAST = 0.9


def report(zoo: Path) -> list[str]:
    """The lines to print."""
    with tempfile.TemporaryDirectory() as name, open_measured(zoo / "sentiment") as predictor:
        folder = Path(name)
        asked = _prepare(predictor, folder)
        attack, score = [], []
        for _ in range(ROUNDS):
            attack.append(_cpu_s(lambda: list(_campaign(predictor, folder).run())))
            score.append(_cpu_s(lambda: _score(predictor, folder)))
    per_text = statistics.median(attack) / asked * 1000
    ratio = statistics.median(score) / statistics.median(attack)
    return [
        f"steadfast attack, {TEXTS} texts, {BOUNDS.name}, {asked:,} texts asked about",
        f"  CPU time a text {per_text:.2f} ms; {ratio:.2f} x as many a second as score, which must be {LEAST} at least",
    ]


def _prepare(predictor: Predictor, folder: Path) -> int:
    """Write the data of an attack, and all texts that it asks about as a file to score; returns their number."""
    texts = make_texts(TEXTS)
    items = [predictor.task.item(text=text) for text in texts]
    results = predictor.answer(items, Options()).results
    _write(
        folder / "part.jsonl", [{"text": text, "label": one.label} for text, one in zip(texts, results, strict=True)]
    )
    asked: list[Item] = []
    campaign = _campaign(predictor, folder)
    submit = campaign.victim.submit

    def record(items: Sequence[Item]) -> Callable[[], Sequence[Any]]:
        asked.extend(items)
        return submit(items)

    list(replace(campaign, victim=replace(campaign.victim, submit=record)).run())
    _write(folder / "asked.jsonl", [item.model_dump(include={"text"}) for item in asked])
    return len(asked)


def _campaign(predictor: Predictor, folder: Path) -> Campaign:
    victim = package_victim(predictor)
    return Campaign(victim, load_subjects(str(folder), "part", victim.task, victim.outputs, (), None), [BOUNDS])


def _score(predictor: Predictor, folder: Path) -> None:
    job = ScoringJob(sources=[str(folder / "asked.jsonl")], target=Target(str(folder / "scored.jsonl")), overwrite=True)
    score_file(predictor, job, lambda _: None)


def _write(path: Path, records: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def _cpu_s(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began
