"""Joins the outputs of all shards of a run into one, if they belong together and none is missing."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from export.package import is_package
from models.atomic import atomic_write, atomic_write_text
from models.errors import UserError, first_mistake
from models.files.formats import OutputColumns, find_format, opened_writer, stem_of
from models.files.opening import DataFile
from models.files.storage import LOCAL_DISK
from service.answers.contract import ModelName
from service.files.counts import Counts
from service.files.selection import Selection, Shard
from service.files.source import Source, survey_source
from service.files.target import STDOUT, OutputError, Target, refuse_one_name_for_two, refuse_to_overwrite
from service.outcomes.summary import FailureCount, Summary, SummaryFold


class ShardsError(UserError):
    """Outputs that are not all shards of one run."""


class _Run(BaseModel):
    input: list[str]
    selection: dict[str, Any]


class _Part(BaseModel):
    name: str


class _Counts(BaseModel):
    records: int
    answered: int
    refused: int


class _Counted(BaseModel):
    """The counts of answers as `SummaryFold.as_json` gives them, and the model that answered."""

    model: ModelName
    counts: dict[str, int]
    labels: dict[str, int]
    certificates: dict[str, int]
    tallies: dict[Literal["confidence", "similarity", "unknown_share", "tokens"], list[tuple[float, int]]]
    failures: list[FailureCount]


class _ShardRecord(BaseModel):
    """The entries of a shard's record that are read here."""

    format: int
    run: _Run
    sources: list[_Part]
    error_column: str
    output: str
    counts: _Counts
    counted: _Counted


@dataclass(frozen=True)
class Merged:
    """The outcome of a merge."""

    counts: Counts
    sources: tuple[str, ...]
    """The names of the files of the input."""


def name_of_shard(name: str, shard: Shard) -> str:
    """The name of a shard's output: `scored.2-of-8.csv` where the whole is `scored.csv`; raises OutputError."""
    if Target(name).is_folder or name == STDOUT:
        raise OutputError(f"{name}: a shard is written to a file of its own; name the whole, such as scored.csv")
    folder, slash, last = name.rpartition("/")
    stem = stem_of(last) or last
    return f"{folder}{slash}{stem}.{shard.number}-of-{shard.of}{last[len(stem) :]}"


def name_beside_shard(path: Path, shard: Shard) -> Path:
    """The name of what a shard writes beside its output: `refused.2-of-8.jsonl` where `refused.jsonl` was asked for."""
    return path.with_name(f"{path.stem}.{shard.number}-of-{shard.of}{path.suffix}")


def merge(
    name: str, *, overwrite: bool, kind: str | None = None, beside: Mapping[str, Path] = MappingProxyType({})
) -> Merged:
    """Write the output `name` from those of its shards, which lie beside it and stay there.

    `kind` is the format of the shards and the output, where the name does not say it. `beside` are the other files that
    the command writes, by the option that names each.

    Raises:
        ShardsError: a shard is missing, of another run, or was changed since.
        OutputError, NotWritable, RecordsError: the output cannot be written, or a file beside it has its name or that
            of a shard, or one of them is a file that the shards were made from.
    """
    target = Target(name, kind)
    if target.is_folder or not target.is_local:
        raise OutputError(f"{name}: shards are joined into one file of this machine")
    target.check([], overwrite=overwrite)
    paths = _find_shards(target.path)
    _refuse_taken_names(target, paths, beside)
    records = [_read_record(path) for path in paths]
    first = records[0]
    _refuse_inputs(target, first, beside)
    for path, record in zip(paths, records, strict=True):
        if _without_shard(record) != _without_shard(first):
            raise ShardsError(f"{path}: is of another run than {paths[0]}: other input, package or options")
        if LOCAL_DISK.digest(str(path)) != record["output"]:
            raise ShardsError(f"{path}: was changed since it was written; score that shard again with --overwrite")
    is_typed = not find_format(name, kind).is_text
    files = [replace(DataFile.local(path), kind=kind) for path in paths]
    source = survey_source(files, Selection(), typed=is_typed)
    with atomic_write(target.path, unfinished=target.path.with_name(target.path.name + ".merging")) as unfinished:
        _write(source, unfinished, name, kind)
    counts = _add_up(records)
    whole = {**_without_shard(first), "counts": counts.as_json(), "output": LOCAL_DISK.digest(str(target.path))}
    atomic_write_text(target.record, json.dumps(whole, indent=1) + "\n")
    return Merged(counts, tuple(str(one["name"]) for one in first["sources"]))


def _find_shards(path: Path) -> list[Path]:
    """The outputs of all shards beside the whole, in order; raises ShardsError."""
    stem = stem_of(path.name) or path.name
    ending = re.escape(path.name[len(stem) :])
    found: dict[tuple[int, int], Path] = {}
    for other in path.parent.iterdir():
        if shard := re.fullmatch(rf"{re.escape(stem)}\.(\d+)-of-(\d+){ending}", other.name):
            found[int(shard[2]), int(shard[1])] = other
    of = {of for of, _ in found}
    if not found:
        raise ShardsError(f"{path}: there is no {name_of_shard(path.name, Shard(1, 2))} or the like beside it")
    if len(of) > 1:
        raise ShardsError(f"{path}: there are shards of {' and of '.join(map(str, sorted(of)))}; remove one kind")
    (total,) = of
    missing = [str(number) for number in range(1, total + 1) if (total, number) not in found]
    if missing:
        raise ShardsError(f"{path}: of {total} shards, these are missing: {', '.join(missing)}")
    return [found[total, number] for number in range(1, total + 1)]


def _refuse_taken_names(target: Target, shards: Sequence[Path], beside: Mapping[str, Path]) -> None:
    """Refuse a file beside the output that has a name of the output or of a shard; raises OutputError."""
    written = [(option, path.resolve()) for option, path in beside.items()]
    refuse_one_name_for_two([("OUTPUT", target.path.resolve()), ("OUTPUT", target.record.resolve()), *written])
    kept = {path.resolve() for shard in shards for path in (shard, Target(str(shard)).record)}
    for option, path in written:
        if path in kept:
            raise OutputError(f"{path}: is of a shard, which stays as it is; choose another name with {option}")


def _refuse_inputs(target: Target, record: Mapping[str, Any], beside: Mapping[str, Path]) -> None:
    """Refuse to write into a package, or over what the shards were made from, by name or contents; raises OutputError.

    Names alone do not tell: those in a record hold in the folder in which the shard was scored.
    """
    written = [("OUTPUT", target.path), ("OUTPUT", target.record), *beside.items()]
    packages = [folder for _, path in written for folder in path.resolve().parents if is_package(folder)]
    refuse_to_overwrite([*(Path(one["name"]) for one in record["sources"]), *packages], written)
    for option, path in written:
        if path.is_file() and LOCAL_DISK.digest(str(path)) in record["run"]["input"]:
            raise OutputError(
                f"{path}: has the contents of what the shards were made from; choose another name with {option}"
            )


def _read_record(path: Path) -> dict[str, Any]:
    name = Target(str(path)).record.name
    cure = "score that shard again with --overwrite"
    try:
        record = json.loads(Target(str(path)).record.read_bytes())
        _ShardRecord.model_validate(record)
    except ValidationError as error:
        raise ShardsError(f"{path}: its record {name} is of no shard: {first_mistake(error)}; {cure}") from error
    except (OSError, ValueError) as error:
        raise ShardsError(f"{path}: its record {name} is missing or damaged; {cure}") from error
    return dict(record)


def _without_shard(record: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a run's record that all its shards have in common."""
    run = {**record["run"], "selection": {**record["run"]["selection"], "shard": None}}
    return {name: record[name] for name in ("format", "sources", "error_column")} | {"run": run}


def _write(source: Source, path: Path, name: str, kind: str | None) -> None:
    def schemas() -> Any:
        import pyarrow as pa

        return source.schema(), pa.schema([])

    with opened_writer(path, name, kind, OutputColumns(source.columns, (), schemas)) as writer:
        for part in source.parts:
            for block in part.blocks():
                writer.write(block, [{}] * len(block))


def _add_up(records: Sequence[Mapping[str, Any]]) -> Counts:
    whole = records[0]["counts"]["records"]
    answered, refused = (sum(one["counts"][name] for one in records) for name in ("answered", "refused"))
    return Counts(
        records=whole,
        answered=answered,
        refused=refused,
        skipped=whole - answered - refused,
        error_column=records[0]["error_column"],
        answers=_sum_up([record["counted"] for record in records]),
    )


def _sum_up(counted: Sequence[Mapping[str, Any]]) -> Summary:
    """The answers of all shards; that of the whole run, which numbers records from the first shard on."""
    whole = SummaryFold()
    for one in counted:
        whole.merge(SummaryFold.from_json(one, behind=whole.counts["records"]))
    return whole.summary(ModelName.model_validate(counted[0]["model"]))
