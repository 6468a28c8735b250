"""Changes a finished package: how it reads its texts, and how far it tells terms of identity apart.

Nothing here needs torch.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from export.errors import CannotBlind
from export.package import MANIFEST_FILE, Manifest, Package, open_package, write_manifest
from export.probes import probe_again, record_probes
from export.session import Session
from models.correction.reading import Correction
from models.tasks.task import ONE_VECTOR, AnyTask

_MADE = re.compile(r"^steadfast (?:export|import) .*$((?:\nsteadfast measure .*$)*)", re.MULTILINE)
"""The commands on a card that make its package, and those among them that change it."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of a finished package; what was measured before does not hold after it."""

    correction: Correction | None = None
    """Texts are corrected by it before they are read."""
    blindness: float = 0.0
    """How far the embeddings of terms of identity move to the mean of their kind, from 0 to 1."""

    @property
    def options(self) -> str:
        """The options of `steadfast measure` that make it."""
        named = {"--correct": self.correction is not None, f"--blind {self.blindness:g}": self.blindness > 0}
        return " ".join(option for option, is_made in named.items() if is_made)

    def fields(self) -> dict[str, Any]:
        """The manifest's fields of what is changed."""
        changed: dict[str, Any] = {} if self.correction is None else {"correction": self.correction.kind}
        return changed | ({"blindness": self.blindness} if self.blindness else {})


def change_package(folder: Path, change: Change) -> Manifest:
    """Change the package in `folder`, which then states nothing that was measured before but the export's own checks.

    Raises:
        CannotBlind: its answers may well depend on such terms, its graph has no embeddings of them, or it is blind
            already.
    """
    before = open_package(folder)
    if change.blindness:
        refuse_to_blind(before.task, before.manifest, folder)
    if change.correction is not None:
        change.correction.write(folder)
    if change.blindness:
        from export.graphs.blinding import blind  # needs onnx

        for form in (before, *([before.fallback] if before.fallback else ())):
            blind(form.graph, before.reader().tokenizer, change.blindness)
    stated: dict[str, Any] = {"metrics": {}, "passport": None, "faithfulness": {}, "reference": None}
    quality = before.manifest.quality
    stated["quality"] = quality.model_copy(update={"without": (*quality.without, *change.fields())})
    manifest = before.manifest.model_copy(update=stated | change.fields())
    after = replace(before, manifest=manifest)
    probes = {"probes": _probes(before, after, change)}
    if before.fallback and after.fallback:
        probes["fallback_probes"] = _probes(before.fallback, after.fallback, change)
    return rewrite(folder, manifest.model_copy(update=probes))


def add_command(card: str, change: Change) -> str:
    """The card of a package with the command that changes it, after those that make it."""

    def add(found: re.Match[str]) -> str:
        changes = found[1].count("\n")
        before, after = (f"PACKAGE-{changes + 1}" if changes else "PACKAGE"), f"PACKAGE-{changes + 2}"
        return f"{found[0]}\nsteadfast measure {before} --data FOLDER {change.options} --out {after}"

    return _MADE.sub(add, card, count=1)


def refuse_to_blind(task: AnyTask, manifest: Manifest, folder: Path) -> None:
    """Refuse to make a package blind.

    Raises:
        CannotBlind: its answers may well depend on such terms, or it is blind already.
    """
    if task.head not in ONE_VECTOR:
        raise CannotBlind(
            f"{folder}: {task.name} finds words in texts, such terms among them, and must tell them apart"
        )
    if len(task.columns) > 1:
        raise CannotBlind(
            f"{folder}: {task.name} must tell such terms apart, as in two texts of which one names French and one "
            "Greek people; only tasks that judge one text can be blind to them"
        )
    if manifest.blindness:
        raise CannotBlind(f"{folder}: is blind already, by {manifest.blindness:g}; name the package as it was before")


def rewrite(folder: Path, manifest: Manifest) -> Manifest:
    """Write another manifest for the files in `folder`, and return it with their digests."""
    (folder / MANIFEST_FILE).unlink()
    return write_manifest(folder, manifest)


def _probes(before: Package, after: Package, change: Change) -> Any:
    if not change.blindness:
        return probe_again(before, after)
    return record_probes(after.task, after.reader(), Session(after.graph, pad_id=after.manifest.pad_id))
