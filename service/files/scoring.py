"""Answers for every record of files, computed on the same path as over HTTP.

All cores stay busy, memory stays flat, and a stopped run loses nothing. There are three passes. The first counts
records and columns. The second computes outcomes, which are kept beside the output. The third writes the records of
the input with their outcomes; the output gets its name only when it is complete.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from models.atomic import remove
from models.errors import UserError
from models.files.formats import find_format, find_kind
from models.files.locating import locate
from models.files.opening import DataFile
from models.files.rows import BadRecord, RecordsError, look_up
from models.files.storage import LOCAL_DISK
from service.answers.certifying import find_certified
from service.answers.predictor import Predictor
from service.files.counts import Counts
from service.files.job import ScoringJob
from service.files.partial import PartialOutput, settle
from service.files.source import InputChanged, Source, find_texts, survey_source
from service.files.target import STDOUT
from service.files.writing import Writing, opened_errors
from service.outcomes.answering import Failure
from service.outcomes.columns import ERROR, column_types
from service.outcomes.engines.engine import Engine
from service.outcomes.engines.local import compute
from service.outcomes.outcome import Outcome
from service.outcomes.records import Values
from service.outcomes.summary import Summary, SummaryFold

RECORD_FORMAT = 1
"""The format number of the record of a run."""

_RESULT, _ERRORS = "result", "errors"


class RunStopped(UserError):
    """A run that ended before its output was complete, and that can go on."""


class Standing(NamedTuple):
    """How far a run is, in records; those of an earlier run count as done."""

    done: int
    total: int
    refused: int = 0
    """Refused in this run."""
    tokens: int = 0
    """Tokens of the answers of this run."""


ReportStanding = Callable[[Standing], None]
"""Takes how far a run is, first before anything is computed and then after each record."""


def score_file(predictor: Predictor, job: ScoringJob, progress: ReportStanding, engine: Engine | None = None) -> Counts:
    """Write the output: the records and columns of the input in their order, and the columns of the outcomes.

    `engine` computes the outcomes in place of `predictor` itself.

    Raises:
        NotOffered, CertificateNotOffered, NoConfidence, RecordsError, UnknownColumn, PartialError: before anything is
            computed.
        RunStopped: the input could not be read to its end, or too many records were refused.
        InputChanged: the input was changed during the run.
    """
    _check_options(predictor, job)
    with tempfile.TemporaryDirectory(prefix="steadfast-") as spool:
        run = _Run.begin(predictor, job, Path(spool))
        try:
            return run.complete(progress, engine or partial(compute, predictor, wanted=job.wanted))
        except RecordsError as error:
            kept = f"; {job.partial} holds the answers so far, and the same command goes on from there"
            raise RunStopped(f"{error}{kept if job.partial else ''}") from error


def _check_options(predictor: Predictor, job: ScoringJob) -> None:
    """Refuse what the package cannot do, before the input is read."""
    options = job.wanted.options
    if options.explain:
        predictor.choose(options.explain)
    if options.certify:
        find_certified(options.certify)


@dataclass(frozen=True)
class _Run:
    """A job whose input was surveyed."""

    predictor: Predictor
    job: ScoringJob
    source: Source
    texts: Sequence[Mapping[str, str]]
    """For each file of the input, the column of each field of an item."""
    types: Mapping[str, Any]
    digests: Sequence[str]
    folder: Path
    """Keeps the outcomes so far."""

    @classmethod
    def begin(cls, predictor: Predictor, job: ScoringJob, spool: Path) -> "_Run":
        """Find the files of the input, count their records and find their columns."""
        manifest = predictor.package.manifest
        types = column_types(
            predictor.task, manifest.labels, job.wanted, has_corrections=manifest.correction is not None
        )
        job.refuse_as_input(predictor.package.folder)
        files = locate(job.sources, job.dialect, job.kind, spool)
        for file in files:
            file.check()
            if file.storage is LOCAL_DISK:
                job.refuse_as_input(Path(file.path))
            else:
                job.target.refuse_elsewhere(file)
        # First of all: what is written to a file while its records are counted changes the digest, too.
        digests = _digests(files)
        is_typed = any(not find_format(name, kind).is_text for name, kind in job.target.outputs(files))
        source = survey_source(files, job.selection, typed=is_typed)
        texts = [find_texts(predictor.task, part, job.columns) for part in source.parts]
        run = cls(predictor, job, source, texts, types, digests, job.partial or spool / "answers")
        run.try_to_write(spool)
        return run

    def try_to_write(self, spool: Path) -> None:
        """Write an output without records, to find out before anything is computed whether it can hold the columns."""
        nothing = Source([replace(part, ranges=()) for part in self.source.parts])
        self._write_files(Writing(nothing, iter(()), self.types, None), spool / "nothing")

    def complete(self, progress: ReportStanding, engine: Engine) -> Counts:
        """Compute what an earlier run has not, and write the output."""
        job, picked = self.job, self.source.picked
        identity = self._identify()
        with PartialOutput(self.folder, identity, discard_other=job.overwrite) as so_far:
            done = settle(self.folder, job.describe_output(), discard_other=job.overwrite)
            if done is not None:
                answers = Summary.model_validate(done["answers"]) if done.get("answers") else None
                return Counts(**done["counts"], kept=picked, error_column=done["error_column"], answers=answers)
            kept = so_far.records
            refused_before = refused = self._count_refused(so_far)
            tokens = 0
            progress(Standing(kept, picked))
            for outcome in engine(self._records(kept)):
                so_far.add(outcome.as_json())
                if not outcome.is_answered:
                    refused += 1
                    self._check_errors(refused, outcome)
                else:
                    tokens += outcome.columns["tokens"]
                progress(Standing(so_far.records, picked, refused - refused_before, tokens))
            so_far.flush()
            # Writing takes memory too.
            self.predictor.release_memory()
            return self._write(so_far, identity, kept)

    def _identify(self) -> dict[str, Any]:
        """The things on which outcomes depend, so that those of another run are not mixed in."""
        predictor = self.predictor
        return {
            "format": 8,
            "input": list(self.digests),
            "kinds": [find_kind(part.file.name, part.file.kind) for part in self.source.parts],
            "package": predictor.name.digest,
            "precision": predictor.name.precision,
            "max_unknown_share": predictor.max_unknown_share,
            "max_certify_rows": predictor.max_certify_rows,
            "max_occlusion_words": predictor.max_occlusion_words,
            "texts": [dict(one) for one in self.texts],
            **self.job.describe(),
        }

    def _records(self, kept: int) -> Iterator[Values | Failure]:
        """The values of the picked records for the fields of an item, but for the first ones."""
        return islice(_read_values(self.source, self.texts), kept, None)

    def _count_refused(self, partial: PartialOutput) -> int:
        """The records that an earlier run refused, if anybody has to know; raises RunStopped."""
        if self.job.max_errors is None:
            return 0
        refused = 0
        with partial.predictions() as predictions:
            for outcome in map(Outcome.from_json, predictions):
                if not outcome.is_answered:
                    refused, last = refused + 1, outcome
        if refused:
            self._check_errors(refused, last)
        return refused

    def _check_errors(self, refused: int, last: Outcome) -> None:
        most = self.job.max_errors
        if most is not None and refused > most:
            cure = "mend the input, or run the command with a higher --max-errors"
            kept = f"{self.job.partial} holds the answers so far: {cure} to go on"
            raise RunStopped(
                f"{refused:,} records were refused, and --max-errors allows {most:,}; the last one: "
                f"{last.columns[ERROR]}; {kept if self.job.partial else cure}"
            )

    def _write(self, partial: PartialOutput, identity: Mapping[str, Any], kept: int) -> Counts:
        job, folder = self.job, self.folder
        try:
            with ExitStack() as stack:
                errors = None
                if job.errors is not None:
                    errors = stack.enter_context(opened_errors(folder / _ERRORS, str(job.errors)))
                outcomes = map(Outcome.from_json, stack.enter_context(partial.predictions()))
                writing = Writing(self.source, outcomes, self.types, errors)
                self._write_files(writing, folder / _RESULT)
        except BaseException:
            # On a full disk, half an output would only be in the way.
            remove(folder / _RESULT)
            remove(folder / _ERRORS)
            raise
        if _digests([part.file for part in self.source.parts]) != list(self.digests):
            raise InputChanged(f"{', '.join(job.sources)}: was written to while it was read")
        counts = writing.counts(kept, self.predictor.name)
        self._finish(partial, identity, counts, writing.answers)
        return counts

    def _write_files(self, writing: Writing, result: Path) -> None:
        files = [part.file for part in self.source.parts]
        outputs = self.job.target.outputs(files)
        if not self.job.target.is_folder:
            ((name, kind),) = outputs
            writing.write(result, range(len(files)), name, kind)
            return
        shutil.rmtree(result, ignore_errors=True)
        for place, (name, kind) in enumerate(outputs):
            path = result / name
            path.parent.mkdir(parents=True, exist_ok=True)
            writing.write(path, [place], name, kind)

    def _finish(
        self, partial: PartialOutput, identity: Mapping[str, Any], counts: Counts, counted: SummaryFold
    ) -> None:
        job, target = self.job, self.job.target
        moves = {_ERRORS: str(job.errors)} if job.errors is not None else {}
        record = {
            "format": RECORD_FORMAT,
            "run": dict(identity),
            "sources": [{"name": part.file.name, "records": part.survey.records} for part in self.source.parts],
            "counts": counts.as_json(),
            "error_column": counts.error_column,
        }
        if job.selection.shard is not None:
            # The summary of the whole cannot be made of those of its shards, but of what they counted.
            record["counted"] = {"model": self.predictor.name.model_dump(mode="json"), **counted.as_json()}
        if target.name == STDOUT:
            with (self.folder / _RESULT).open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            moves[_RESULT] = target.destination
            record["output"] = target.digest(self.folder / _RESULT)
            moves |= target.place_record(self.folder, record)
        answers = counts.answers.model_dump(mode="json") if counts.answers else None
        partial.finish(moves, {**record, "answers": answers}, job.describe_output())


def _read_values(source: Source, texts: Sequence[Mapping[str, str]]) -> Iterator[Values | Failure]:
    for part, columns in zip(source.parts, texts, strict=True):
        for block in part.blocks(list(columns.values())):
            for record in block.records():
                if isinstance(record, BadRecord):
                    yield Failure("unreadable_record", record.reason)
                else:
                    yield {name: look_up(record.values, column) for name, column in columns.items()}


def _digests(files: Sequence[DataFile]) -> list[str]:
    return [file.digest() for file in files]
