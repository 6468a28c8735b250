"""Finds the parts of a data set, which is a folder of files or lies on a hub, and reads their records.

A folder holds files of any kind that `models.files` reads. A part is named by its file without the ending: part
`sst2_train` is `sst2_train.jsonl.gz`. On a hub, a part is a split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.files.formats import Records, read_records, stem_of
from models.files.labelled.reading import unfold
from models.files.rows import BadRecord, LeftOutRecord, Record
from models.files.storage import LOCAL_DISK
from models.hub import give_up_at_first_failure


class DataError(UserError):
    """Data that cannot be trained or measured on."""


@dataclass(frozen=True)
class OpenPart:
    """The records of one part, and what is known of them before they are read."""

    records: Records
    digest: str | None = None
    """The sha256 of its file; None for a part of a hub."""
    features: Mapping[str, Any] = field(default_factory=dict)
    """The types of its columns, as a hub declares them; empty for a file."""


def class_names(features: Mapping[str, Any], column: str | None) -> tuple[str, ...] | None:
    """The names of the classes of a column, by the features of a data set; None for a column without classes.

    Those of a column of lists, such as tags, are the names of the classes in the lists.
    """
    found = features.get(column or "")
    names = getattr(getattr(found, "feature", found), "names", None)
    return tuple(names) if names else None


def are_too_many(bad: int, records: int) -> bool:
    """Whether so many records of a part are bad that it is not trained or measured on.

    Every real data set has a few bad records; if there are many, something else is wrong.
    """
    return bad > 0.01 * records


def mistakes(bad: Sequence[BadRecord]) -> list[BadRecord]:
    """The bad records but those that are left out on purpose."""
    return [one for one in bad if not isinstance(one, LeftOutRecord)]


def check_usable(name: str, bad: Sequence[BadRecord], used: int) -> None:
    """Raise DataError where none of the records of a part can be used, or too many of them cannot."""
    wrong = len(mistakes(bad))
    if not used or are_too_many(wrong, used + wrong):
        raise unusable(name, bad, used + len(bad))


def unusable(name: str, bad: Sequence[BadRecord], count: int) -> DataError:
    """The error that says how many of the records of a part cannot be used, and why the first of them cannot."""
    if not bad:
        return DataError(f"{name}: no records")
    wrong = mistakes(bad) or bad
    first = wrong[0]
    return DataError(
        f"{name}: {len(wrong)} of {count} records cannot be used; the first is record {first.number}: {first.reason}"
    )


def read_part(data: str, name: str) -> Records:
    """Read the records of one part as its file has them; raises DataError."""
    return open_part(data, name).records


def has_part(data: str, name: str) -> bool:
    """Whether `data` is a folder with that part. Hubs are not asked."""
    return bool(part_files(data, name))


def open_part(data: str, name: str) -> OpenPart:
    """Find one part and begin to read it; raises DataError."""
    folder = Path(data)
    if not folder.is_dir():
        found = fetch_part(data, name)
        records = (Record(number, values) for number, values in enumerate(found, start=1))
        return OpenPart(records, features=found.features)
    files = part_files(data, name)
    if not files:
        there = sorted({stem for path in folder.iterdir() if (stem := stem_of(path.name))})
        raise DataError(f"{folder}: no part {name!r}; there are: {', '.join(there) or 'no data files at all'}")
    if len(files) > 1:
        raise DataError(f"{folder}: part {name!r} is there twice: {', '.join(path.name for path in files)}")
    return OpenPart(unfold(read_records(files[0])), digest=LOCAL_DISK.digest(str(files[0])))


def fetch_part(data: str, name: str) -> Any:
    """A part of a hub's data set, as `datasets` gives it; raises DataError."""
    # Here, not at the top: importing it takes a second, and folders need none of it.
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise DataError(f"{data}: no such folder; data sets of the hub need an extra: run make install-dev") from error

    give_up_at_first_failure()
    identifier, _, configuration = data.partition(":")
    try:
        return datasets.load_dataset(identifier, configuration or None, split=name)
    except Exception as error:
        # The library raises a dozen unrelated classes: not found, no such split, no network, a broken script.
        raise DataError(f"{data!r} is neither a folder here nor a data set that could be fetched: {error}") from error


def part_files(data: str, name: str) -> list[Path]:
    """The files of a folder that are called like a part, which should be one; none where `data` is no folder here."""
    wanted = Path(data) / name
    if not Path(data).is_dir() or not wanted.parent.is_dir():
        return []
    return [path for path in sorted(wanted.parent.iterdir()) if stem_of(path.name) == wanted.name and path.is_file()]
