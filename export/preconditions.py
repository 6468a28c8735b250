"""Checks before an export begins. They need no torch, so that a mistake is said at once."""

import re
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from export.errors import AlreadyAPackage, BadName, NoTwin, OnlyPretrained, PackageExists
from export.package import NAME_PATTERN, Manifest, Twin, is_package, read_manifest
from models.checkpoint import TrainingRecord, read_record
from models.folders import check_folder, check_output_folder
from models.methods import name_variant
from models.tasks import TASKS, find_task


def check_request(
    checkpoint: Path,
    out: Path,
    *,
    name: str | None = None,
    data: str | None = None,
    twins: Sequence[Path] = (),
    correct: bool = False,
) -> None:
    """Refuse an export that cannot succeed; the arguments are those of `export_checkpoint`.

    Raises:
        ExportError: `out` exists, `name` cannot be used, `checkpoint` is a package, or a twin does not match it.
        CheckpointError: `checkpoint` is no checkpoint, or its record is damaged.
        PackageError: a twin is no package.
        NotWritable: `out` cannot be made.
        NoSuchFolder: `data` looks like a folder, and there is none.
    """
    check_place(out, name)
    refuse_package(
        checkpoint, f"serve it as it is: steadfast serve {quote(str(checkpoint))}; or name a checkpoint to export"
    )
    record = read_exportable(checkpoint)
    read_twins(twins, record, variant_of(record, correct=correct))
    if data is not None:
        check_folder(data)


def check_place(out: Path, name: str | None) -> None:
    """Refuse a place that no package can be made at, and a name that none can have.

    Raises:
        PackageExists, BadName, NotWritable.
    """
    if out.exists():
        raise PackageExists(f"{out}: exists already; packages are never overwritten, choose another name or remove it")
    check_output_folder(out)
    if name is not None and not re.fullmatch(NAME_PATTERN, name):
        raise BadName(f"package name {name!r}; use at most 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first")


def refuse_package(name: str | Path, cure: str) -> None:
    """Refuse a package where a model is wanted; any other folder, and an id on a hub, may be one.

    Raises:
        AlreadyAPackage: the message ends with the `cure`.
    """
    if is_package(Path(name)):
        raise AlreadyAPackage(f"{name}: is a package, which holds a finished graph; {cure}")


def read_exportable(checkpoint: Path) -> TrainingRecord:
    """The record of a checkpoint that a package can be made from.

    Raises:
        CheckpointError: it is no checkpoint, or its record is damaged.
        OnlyPretrained: it was pre-trained only.
    """
    record = read_record(checkpoint)
    if find_task(record.task).name not in TASKS:
        raise OnlyPretrained(
            f"{checkpoint}: pre-trained on {record.task}, which answers nothing and cannot be exported or served; "
            f"train a task from it first: steadfast train --task TASK --base {checkpoint}"
        )
    return record


def variant_of(record: TrainingRecord | Manifest, *, correct: bool, blind: bool = False) -> str:
    """The variant of a package that is made of a checkpoint or of another, corrects then and is made blind then."""
    return name_variant(
        record.method.name,
        has_noise=record.noise is not None,
        corrects=correct or record.correction is not None,
        is_blind=blind or (isinstance(record, Manifest) and record.blindness > 0),
    )


def read_twins(folders: Sequence[Path], record: TrainingRecord | Manifest, variant: str) -> tuple[Twin, ...]:
    """Packages of the same training by other methods, with other noise or other changes, as the manifest names them.

    `variant` is that of the package beside which they stand.

    Raises:
        NoTwin: a package has another task, base or data, or is the same variant.
        PackageError: a folder is no package.
    """
    twins = tuple(_read_twin(folder, record, variant) for folder in folders)
    if len({twin.method for twin in twins}) < len(twins):
        raise NoTwin("two twins were trained alike; name one package for each method, with noise and without")
    return twins


def as_twin(manifest: Manifest) -> Twin:
    """A package as another, beside which it stands, states it."""
    return Twin(
        method=manifest.variant,
        precision=manifest.precision,
        digest=manifest.digest,
        metrics=manifest.metrics,
        passport=manifest.passport,
    )


def _read_twin(folder: Path, record: TrainingRecord | Manifest, variant: str) -> Twin:
    found = read_manifest(folder)
    differing = [
        field
        for field, here, there in (
            ("task", record.task, found.task),
            ("base", record.base, found.base),
            ("labels", record.labels, found.labels),
            ("max_tokens", record.max_tokens, found.max_tokens),
            ("data", record.data, found.data),
        )
        if here != there
    ]
    if differing or found.variant == variant:
        reason = f"another {' and '.join(differing)}" if differing else f"the same training, {variant}"
        raise NoTwin(
            f"{folder}: has {reason}; a twin has the same task and data, and another method, or noise or correction "
            "where the other has none"
        )
    return as_twin(found)
