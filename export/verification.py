"""`steadfast verify`: checks that a package is whole and still answers as it did when it was made.

The files and the answers to the probes are always checked. The quality is checked if the data set is given, and the
agreement with torch if the checkpoint is given.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from export.errors import NotAnExplanation, NotTheSameModel
from export.figures.stated import passport_table
from export.gates.consistency import check_shares
from export.gates.determinism import TOLERANCE, find_differences
from export.package import GRAPH_FILE, PROBE_TOLERANCE, WEIGHTS_FILE, Package, file_digest, open_package
from export.probes import distance, probe_outputs, rows_of_many_lengths
from export.session import Session, open_packaged_model
from models.data import load_part
from models.evaluation import measure
from models.tables import format_count
from models.text import Reader, Row


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class VerificationReport:
    """The results of all checks of one package."""

    package: Package
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)


def verify_package(
    folder: Path, *, checkpoint: Path | None = None, data: str | None = None, is_gated: bool = False
) -> VerificationReport:
    """Check the package in `folder`; `data` is the folder or hub id of its data set.

    With `is_gated` its graph has just passed the gates of an export, and of that graph the probes alone are asked.

    Raises:
        PackageError: a file is missing, damaged or of another format; the message names it, and nothing else is
            checked.
    """
    package = open_package(folder)
    reader = package.reader()
    rows = rows_of_many_lengths(package.task, reader)
    checks = [
        Check("files", True, f"{format_count(len(package.manifest.files), 'file')} as the package was made with"),
        *_check_graph(package, reader, None if is_gated else rows),
        *_show_quality(package),
        *_show_robustness(package),
    ]
    if package.fallback:
        checks += [
            replace(check, name=f"fallback {check.name}") for check in _check_graph(package.fallback, reader, rows)
        ]
    if data is not None:
        checks.append(_check_quality(package, data))
    if checkpoint is not None:
        checks += [_check_weights(package, checkpoint), _check_parity(package, checkpoint, rows)]
    return VerificationReport(package, tuple(checks))


def _check_graph(package: Package, reader: Reader, rows: Sequence[Row] | None) -> tuple[Check, ...]:
    """Ask the graph of `package` its probes, and lead it through the gates with `rows`, unless these are None."""
    try:
        session = Session(package.graph, pad_id=package.manifest.pad_id)
        return _check_session(package, reader, session, rows)
    # ONNX Runtime's errors have no base of their own.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        return (Check("graph", False, f"{package.graph.name} does not compute what its manifest says: {reason:.300}"),)


def _check_session(package: Package, reader: Reader, session: Session, rows: Sequence[Row] | None) -> tuple[Check, ...]:
    probes = _check_probes(package, reader, session)
    return (probes,) if rows is None else (probes, _check_determinism(session, rows), _check_shares(session, rows))


def _show_quality(package: Package) -> tuple[Check, ...]:
    """A reminder where nobody knows how good the answers are."""
    quality = package.manifest.quality
    if quality.measured:
        return ()
    agreement = f"{quality.exported:.4f} of {format_count(quality.rows, 'made-up text')} answered as in fp32"
    return (Check("quality", True, f"not measured, no records were given when it was made; {agreement}"),)


def _show_robustness(package: Package) -> tuple[Check, ...]:
    """The figures of the passport, which were measured when the package was made, not now."""
    lines = passport_table(package.manifest)
    if not lines:
        return ()
    twins = [twin.method for twin in package.manifest.twins]
    shown = ", ".join(f"{name} {_beside(own, twins, others)}" for name, own, *others in lines)
    return (Check("robustness", True, f"recorded when it was made, and not measured again: {shown}"),)


def _beside(own: str, twins: Sequence[str], others: Sequence[str]) -> str:
    told = ", ".join(f"{twin} {value}" for twin, value in zip(twins, others, strict=True) if value)
    return f"{own} ({told})" if told else own


def _check_probes(package: Package, reader: Reader, session: Session) -> Check:
    differences: dict[str, float] = {}
    for probe in package.probes:
        found = probe_outputs(package.task, reader, session, probe.item, tuple(probe.outputs))
        for name, expected in probe.outputs.items():
            differences[name] = max(differences.get(name, 0.0), distance(name, expected, found[name]))
    tolerance = PROBE_TOLERANCE[package.precision]
    passed = all(difference <= tolerance for difference in differences.values())
    shown = ", ".join(f"{name} within {difference:.2g}" for name, difference in differences.items())
    return Check("probes", passed, f"{format_count(len(package.probes), 'probe')}: {shown} (accepted: {tolerance:g})")


def _check_determinism(session: Session, rows: Sequence[Row]) -> Check:
    found = find_differences(session, rows)
    detail = f"{len(found.rows)} of {format_count(len(rows), 'row')} with other logits in a batch than alone"
    if found.decomposition is None:
        return Check("determinism", not found.rows, detail)
    passed = not found.rows and found.decomposition <= TOLERANCE
    return Check("determinism", passed, f"{detail}, decompositions within {found.decomposition:.2g}")


def _check_shares(session: Session, rows: Sequence[Row]) -> Check:
    try:
        distance = check_shares(session, rows)
    except NotAnExplanation as error:
        return Check("explanations", False, str(error))
    shown = format_count(len(rows), "row")
    return Check("explanations", True, f"shares of {shown} add up to 1 within {distance:.1g}, none on padding")


def _check_quality(package: Package, data: str) -> Check:
    manifest = package.manifest
    metric = manifest.quality.metric
    evaluated = open_packaged_model(package.folder)
    recorded = next((file for file in manifest.data if file.part == "validation"), None)
    if recorded is None:
        return Check("quality", False, "the manifest names no validation part")
    part = load_part(
        data,
        recorded.name,
        "validation",
        package.task,
        manifest.meaning,
        evaluated.reader,
        layout=manifest.layout,
    )
    if part.origin.sha256 != recorded.sha256:
        return Check("quality", False, f"{recorded.name}: not the file the package was measured on")
    found, expected = measure(evaluated, part.examples)[metric], manifest.metrics[recorded.name][metric]
    passed = found >= expected - manifest.quality.tolerance
    return Check("quality", passed, f"{metric} {found:.4f} on {recorded.name}, {expected:.4f} when it was made")


def _check_weights(package: Package, checkpoint: Path) -> Check:
    same = file_digest(checkpoint / WEIGHTS_FILE) == package.manifest.weights
    return Check("weights", same, f"{checkpoint} is {'' if same else 'not '}the checkpoint the package was made from")


def _check_parity(package: Package, checkpoint: Path, rows: Sequence[Row]) -> Check:
    # Here, not at the top: all other checks also run where torch is not installed.
    from export.gates.parity import check_parity
    from export.graphs.finishing import write_graph
    from models.networks.loading import load_served

    model = load_served(checkpoint, package.task.head)
    with tempfile.TemporaryDirectory() as work:
        graph = package.fallback.graph if package.fallback else package.graph
        if package.precision != "fp32" and not package.fallback:
            graph = Path(work) / GRAPH_FILE
            write_graph(model, package.task.head, graph)
        try:
            report = check_parity(model, package.task.head, graph, rows, package.manifest.pad_id)
        except NotTheSameModel as error:
            return Check("parity", False, str(error))
    return Check("parity", True, f"the fp32 graph is within {max(report.largest_difference.values()):.1g} of torch")
