"""Moves a finished package into its place, and makes packages of others with figures that are measured later.

Nothing here needs torch.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.card import CARD_FILE, replace_figures
from export.changing import Change, add_command, change_package, rewrite
from export.errors import ExportError, NothingMeasured
from export.figures.passport import Passport
from export.figures.reference import Reference
from export.package import MANIFEST_FILE, Faithfulness, Manifest, Twin, open_package, read_manifest
from export.preconditions import as_twin, check_place, read_twins, variant_of
from export.verification import verify_package
from models.atomic import naming_full_disk
from models.progress import Say


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The figures of a finished package that a manifest may state."""

    faithfulness: dict[str, Faithfulness] = field(default_factory=dict)
    """By explanation method, how faithful it is."""
    passport: Passport | None = None
    reference: Reference | None = None
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    """By part, the task's metrics, where they are measured anew."""

    def for_manifest(self) -> dict[str, Any]:
        """The manifest's fields of what was measured; what was not is left out, and keeps its value there."""
        return {name: value for name, value in vars(self).items() if value}


UNCHANGED = Change()
"""The change of a package that is only measured."""

MeasurePackage = Callable[[Path], Measured]
"""Takes the folder of a package and measures it. Serving explains and attacks are made on what is served, and export
must not import that, so whoever calls an export brings this along."""


def measure_again(
    package: Path,
    out: Path,
    measure: MeasurePackage,
    *,
    change: Change = UNCHANGED,
    twins: Sequence[Path] = (),
    say: Say = lambda _: None,
) -> Manifest:
    """Make the package `out` of the files of another with figures that are measured now, in its manifest and its card.

    The tokenizer stays as it is, and so does the graph but for a `change` of it; the digest, which covers the figures,
    becomes another. Without `twins` it keeps those it has.

    With a `change`, what was measured before it goes, `measure` must measure the metrics anew, and the package as it
    was becomes a twin.

    Raises:
        PackageError: `package` is none, or is damaged.
        ExportError: `out` exists, a twin does not match, the package cannot be changed so, or `measure` found nothing.
    """
    check_place(out, None)
    manifest = open_package(package).manifest
    compared = _compared(manifest, twins, change)
    with workplace(out) as work:
        folder = work / "package"
        folder.mkdir()
        for name in (MANIFEST_FILE, *manifest.files):
            shutil.copyfile(package / name, folder / name)
        if change != UNCHANGED:
            manifest = change_package(folder, change)
        found = measure(folder).for_manifest()
        # Without a change the package has its metrics; one that is changed must be measured so, if it ever was.
        if not found if change == UNCHANGED else manifest.quality.measured and "metrics" not in found:
            raise NothingMeasured(f"{package}: nothing could be measured, so that {out} was not made")
        manifest = manifest.model_copy(update={"twins": compared} | found)
        if CARD_FILE in manifest.files:
            card = folder / CARD_FILE
            text = replace_figures(card.read_text(encoding="utf-8"), manifest)
            text = text if change == UNCHANGED else add_command(text, change)
            card.write_text(text, encoding="utf-8")
        manifest = rewrite(folder, manifest)
        publish(folder, out, say)
    return manifest


def _compared(manifest: Manifest, twins: Sequence[Path], change: Change) -> tuple[Twin, ...]:
    """The twins of a package that is made of another: those given or else its own, and the other if it is changed."""
    variant = variant_of(manifest, correct=change.correction is not None, blind=change.blindness > 0)
    compared = read_twins(twins, manifest, variant) or manifest.twins
    if change == UNCHANGED:
        return compared
    others = (twin for twin in compared if twin.method not in {variant, manifest.variant})
    return (*others, as_twin(manifest))


def publish(folder: Path, out: Path, say: Say, *, is_gated: bool = False) -> None:
    """Verify the package that was made in `folder`, and move it to `out` in one step; raises ExportError.

    With `is_gated` its graph has just passed every gate, and is not led through them again.
    """
    _refuse_unverified(folder, is_gated)
    folder.rename(out)
    precision = read_manifest(out).precision
    say(f"{out}: {precision}, {sum(path.stat().st_size for path in out.iterdir()) / 1e6:.1f} MB")


@contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """Make a folder beside `out`, so that the finished package is moved into place in one step.

    Raises:
        OSError: the folder cannot be made; or a disk is full, this or that of temporary files, with the name of `out`
            where the error has none.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        with naming_full_disk(out):
            yield work
    finally:
        shutil.rmtree(work)


def _refuse_unverified(folder: Path, is_gated: bool) -> None:
    failed = [check for check in verify_package(folder, is_gated=is_gated).checks if not check.passed]
    if failed:
        raise ExportError(f"the finished package does not verify: {failed[0].name}: {failed[0].detail}")
