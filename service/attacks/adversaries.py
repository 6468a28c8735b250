"""The texts that fooled a model, as a part of data: the records with their changed texts, and what was changed.

A run that is stopped keeps its outcomes in a folder beside the file, and goes on from there.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from models.attack.outcomes import Outcome
from models.attack.settings import AttackSettings
from models.attack.subjects import Subject
from models.errors import UserError
from models.folders import check_writable
from service.attacks.run import Campaign
from service.files.partial import PartialOutput
from service.outcomes.columns import free_names

COLUMN = "attack"
"""The column beside the record's own: the attack, its edits, and the answers before and after."""

ENDING = ".jsonl"


class BadTarget(UserError):
    """A file that the adversaries cannot be written to."""


def partial_folder(target: Path) -> Path:
    """The folder that keeps the outcomes until the file is complete."""
    return target.with_name(target.name + ".partial")


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written, or that is there already; raises BadTarget, NotWritable."""
    if target.suffix != ENDING:
        raise BadTarget(f"{target}: adversaries are written as JSON lines; choose a name that ends in {ENDING}")
    check_writable(target, "-o")
    if target.exists() and not overwrite:
        raise BadTarget(f"{target}: exists already; choose another name with -o, or pass --overwrite")


def run_and_write(
    campaign: Campaign, data: dict[str, Any], target: Path, *, overwrite: bool, keep: Callable[[Outcome], None]
) -> None:
    """Run the attacks, go on with those that an earlier run left, and write the texts that fooled the model.

    `keep` is given every outcome, those of the earlier run first. `data` says where the records are from, and what else
    the outcomes depend on.

    Raises:
        PartialError: another run left its outcomes beside the file.
    """
    identity = {
        "format": 2,
        "model": campaign.victim.digest,
        "precision": campaign.victim.precision,
        "max_unknown_share": campaign.victim.max_unknown_share,
        "records": _digest_of(campaign.subjects),
        "attacks": [settings.model_dump(mode="json") for settings in campaign.attacks],
        **data,
    }
    folder = partial_folder(target)
    with PartialOutput(folder, identity, discard_other=overwrite) as partial:
        with partial.predictions() as predictions:
            for kept in predictions:
                keep(Outcome.model_validate(kept))
        for outcome in campaign.run(partial.records):
            partial.add(outcome.model_dump(mode="json"))
            keep(outcome)
    with partial.predictions() as predictions:
        outcomes = map(Outcome.model_validate, predictions)
        partial.complete(lambda path: _write(path, adversaries(campaign, outcomes)), target)


def _digest_of(subjects: Sequence[Subject]) -> str:
    """Names the records that are attacked, with all their values: others have another digest."""
    digest = hashlib.sha256()
    for subject in subjects:
        record = subject.source.record
        digest.update(json.dumps([record.number, record.values], default=str).encode() + b"\n")
    return digest.hexdigest()


def adversaries(campaign: Campaign, outcomes: Iterator[Outcome]) -> Iterator[dict[str, Any]]:
    """The changed records, attack by attack, in the order of the records."""
    planned = ((settings, subject) for settings in campaign.attacks for subject in campaign.subjects)
    for (settings, subject), outcome in zip(planned, outcomes, strict=True):
        if outcome.status == "fooled":
            yield _describe(settings, subject, outcome)


def _describe(settings: AttackSettings, subject: Subject, outcome: Outcome) -> dict[str, Any]:
    record = subject.as_record(outcome.made)
    (name,) = free_names([COLUMN], set(record)).values()
    found = outcome.model_dump(mode="json", exclude={"status", "words", "exhausted"})
    return {**record, name: {"name": settings.name, "original": dict(subject.texts), **found}}


def _write(path: Path, records: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            # Values of parquet files, such as dates, are written as texts.
            file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
