"""`steadfast attack`: the accuracy that is left when someone searches for changed texts that turn right answers."""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from export.package import read_manifest
from models.attack.settings import AttackSettings
from models.edits import find_family
from models.files.layout import Layout, check_layout
from models.folders import check_folder, check_writable
from models.tables import format_cell, format_count
from service.cli import INTERRUPTED
from service.cli.columns import layout_of, layout_options
from service.cli.measuring import attack_options as options
from service.cli.measuring.attack_options import bound_options, read_settings
from service.cli.measuring.evaluate import Data
from service.cli.options import need, with_options
from service.cli.progress import console, watched_measuring
from service.pages.saving import save_text

if TYPE_CHECKING:
    from models.attack.outcomes import Outcome
    from models.attack.report import AttackFigures
    from models.attack.search import Alike
    from models.progress import ReportProgress
    from service.attacks.run import Campaign
    from service.attacks.victims import Victim

_USUAL_PART = "validation"
BELOW_GATE = 1
"""The exit code of a model that keeps fewer right answers under attack than `--gate` asks for."""


@with_options([*bound_options(), *layout_options()])
def attack(
    package: options.Package = None,
    *,
    data: Data,
    part: options.Part = None,
    rows: options.Rows = None,
    families: options.Families = None,
    url: options.Url = None,
    key: options.Key = None,
    similarity: options.Similarity = None,
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    report: options.Report = None,
    twin: options.Twin = None,
    gate: options.Gate = None,
    **given: Any,
) -> None:
    """Search for small changes of texts that turn right answers, and report the accuracy that is left.

    ```sh
    steadfast attack zoo/sentiment --data data/sentiment \\
        --part sst2_validation --words 1 --rows 400
    steadfast attack zoo/sentiment --data data/sentiment \\
        --attack all --gate 0.60 -o adversaries.jsonl
    steadfast attack --url http://127.0.0.1:3000/v1/nli \\
        --data data/nli --part mnli_validation_matched --rows 100
    ```

    Words are ranked by how far the right answer falls without them. From the first on, each is replaced by its worst
    edit, until the answer turns, or the words or queries are used up. Stop words, capitals inside a sentence, words
    with digits, and the words of a right answer are left alone.

    The outcome depends on nothing but the model, the record and the bounds. Ctrl-C reports the records that are done;
    with `-o` the same command goes on from there.
    """
    layout = layout_of(given)
    bounds = {option.name: given[option.name] for option in bound_options()}
    job = _Job(package, url, key, data, part or "", rows, layout, similarity, twin, output, overwrite, report, gate)
    _check(job, bounds)
    settings = read_settings(families, bounds)
    _attack(replace(job, part=_choose_part(job)), settings)


@dataclass(frozen=True)
class _Job:
    """The options that say what is attacked and where results go."""

    package: Path | None
    url: str | None
    key: str | None
    data: str
    part: str
    """The part to attack; empty for the one that training measured on."""
    rows: int | None
    layout: Layout
    """The names in the data where those that the package was made with do not hold."""
    similarity: Path | None
    twin: Path | None
    output: Path | None
    overwrite: bool
    report: Path | None
    gate: float | None


def _choose_part(job: _Job) -> str:
    """The part to attack: the one named, or the one that training measured on, or `validation` where that is not there.

    Raises:
        BadParameter: none is named, and the package names none.
    """
    if job.part or job.package is None:
        return job.part
    recorded = [file.name for file in read_manifest(job.package).data if file.part == "validation"]
    if not recorded:
        raise typer.BadParameter(
            f"{job.package} does not say what it was measured on; name a part", param_hint="--part"
        )
    # Here, not at the top: it loads the readers of data files, and help needs none.
    from models.files.parts import has_part

    if not has_part(job.data, recorded[0]) and has_part(job.data, _USUAL_PART):
        console.print(
            f"{job.data} has no part {recorded[0]}, which the package was measured on; attacking {_USUAL_PART}",
            highlight=False,
        )
        return _USUAL_PART
    return recorded[0]


def _check(job: _Job, bounds: dict[str, Any]) -> None:
    """Refuse options that contradict each other, a folder that is not there, and a file that cannot be written.

    Raises:
        BadParameter, NoSuchFolder, NotWritable: says which option is to be changed.
    """
    if (job.package is None) == (job.url is None):
        raise typer.BadParameter("name either a package or the --url of a server")
    if job.package is None and not job.part:
        raise typer.BadParameter(
            "a server does not say what its model was measured on; name a part", param_hint="--part"
        )
    if bounds["min_similarity"] is not None and job.similarity is None:
        raise typer.BadParameter("name the package that measures it with --similarity", param_hint="--min-similarity")
    if bounds["search"] == "exhaustive" and bounds["words"] != "1":
        raise typer.BadParameter("an exhaustive search changes one word; add --words 1", param_hint="--search")
    if bounds["beam"] is not None and bounds["search"] != "beam":
        raise typer.BadParameter("only a beam search has a width; add --search beam", param_hint="--beam")
    check_folder(job.data)
    if job.report is not None:
        check_writable(job.report, "--json")


def _attack(job: _Job, attacks: Sequence[AttackSettings]) -> None:
    if any(one.family.startswith("synonyms") for one in attacks):
        need("synonyms", "textblob", "lemminflect")
    from service.attacks.adversaries import check_target

    for one in attacks:
        # A family that is not there is said now, not after the attacks before it.
        find_family(one.family)
    _refuse_what_is_read(job)
    if job.output is not None:
        check_target(job.output, overwrite=job.overwrite)
    outcomes: list[Outcome] = []
    is_stopped = False
    with ExitStack() as stack:
        campaign = _prepare(job, attacks, stack)
        twin = _open(job.twin, stack) if job.twin else None
        if twin is not None:
            campaign.check_twin(twin)
        try:
            with watched_measuring() as progress:
                _run(job, campaign, _counter(campaign, outcomes, progress))
        except KeyboardInterrupt:
            is_stopped = True
            _say_stopped(job, len(outcomes), campaign.size)
            if not outcomes:
                raise typer.Exit(INTERRUPTED) from None
        figures = campaign.sum_up(outcomes, None if is_stopped else twin)
    _show(campaign, job.part, figures)
    if job.report is not None:
        save_text(job.report, _as_json(campaign, job.part, figures))
    if is_stopped:
        raise typer.Exit(INTERRUPTED)
    _hold_to(job.gate, figures)


def _refuse_what_is_read(job: _Job) -> None:
    """Refuse to write over the part that is attacked, into a package, or two files of one name; raises OutputError."""
    from models.files.parts import part_files
    from service.files.target import refuse_one_name_for_two, refuse_to_overwrite

    written = [(option, path) for option, path in (("-o", job.output), ("--json", job.report)) if path is not None]
    refuse_one_name_for_two((option, path.resolve()) for option, path in written)
    packages = [folder for folder in (job.package, job.similarity, job.twin) if folder is not None]
    refuse_to_overwrite([*part_files(job.data, job.part), *packages], written)


def _prepare(job: _Job, attacks: Sequence[AttackSettings], stack: ExitStack) -> "Campaign":
    """Open the models and read the records."""
    from models.attack.subjects import load_subjects
    from service.answers.opening import open_measured
    from service.attacks.run import Campaign
    from service.attacks.similarity import measured_by
    from service.attacks.victims import server_victim

    if job.url is not None:
        victim = stack.enter_context(server_victim(job.url, job.key))
    else:
        assert job.package is not None, "either is named"
        victim = _open(job.package, stack)
    alike: Alike | None = None
    if job.similarity is not None:
        alike = measured_by(stack.enter_context(open_measured(job.similarity)))
    check_layout(job.layout, victim.task)
    layout = job.layout if job.package is None else job.layout.over(read_manifest(job.package).layout)
    subjects = load_subjects(job.data, job.part, victim.task, victim.outputs, attacks[0].fields, job.rows, layout)
    return Campaign(victim, subjects, attacks, alike)


def _open(package: Path, stack: ExitStack) -> "Victim":
    from service.answers.opening import open_measured
    from service.attacks.victims import package_victim

    return package_victim(stack.enter_context(open_measured(package)))


def _run(job: _Job, campaign: "Campaign", keep: "Callable[[Outcome], None]") -> None:
    if job.output is None:
        for outcome in campaign.run():
            keep(outcome)
        return
    from service.attacks.adversaries import run_and_write

    source = {
        "data": job.data,
        "part": job.part,
        "rows": job.rows,
        "similarity": job.similarity and read_manifest(job.similarity).digest,
        **job.layout.model_dump(exclude_defaults=True),
    }
    run_and_write(campaign, source, job.output, overwrite=job.overwrite, keep=keep)


def _counter(
    campaign: "Campaign", outcomes: "list[Outcome]", progress: "ReportProgress"
) -> "Callable[[Outcome], None]":
    """Keeps each outcome and moves the bar; it is shown from the start."""
    count = len(campaign.subjects)
    progress(campaign.attacks[0].name, 0, count)

    def keep(outcome: "Outcome") -> None:
        attack, place = divmod(len(outcomes), count)
        outcomes.append(outcome)
        progress(campaign.attacks[attack].name, place + 1, count)

    return keep


def _say_stopped(job: _Job, done: int, size: int) -> None:
    from service.attacks.adversaries import partial_folder

    kept = f"; {partial_folder(job.output)} keeps them: run the same command to continue" if job.output else ""
    console.print(f"stopped after {done:,} of {format_count(size, 'attack')} on a record{kept}", highlight=False)


def _show(campaign: "Campaign", part: str, figures: "Sequence[AttackFigures]") -> None:
    out = Console()
    victim = campaign.victim
    records = format_count(len(campaign.subjects), "record")
    out.print(f"{victim.name} {victim.digest[:12]}, {part}, {records}", highlight=False)
    table = Table("", *(f"{one.attack} {one.words}" for one in figures))
    for name in ("rows", "skipped", "accuracy", "under_attack", "success_rate", "words_changed", "queries", "exhausted",
                 "similarity", "transfer"):  # fmt: skip
        cells = [_cell(one, name) for one in figures]
        if any(cells):
            table.add_row(name.replace("_", " "), *cells)
    out.print(table)


def _cell(figures: "AttackFigures", name: str) -> str:
    if name == "under_attack":
        return format_cell(figures.under_attack, figures.standard_error)
    if name == "queries" and figures.queries is not None:
        return f"{figures.queries:.0f}"
    return format_cell(getattr(figures, name))


def _as_json(campaign: "Campaign", part: str, figures: "Sequence[AttackFigures]") -> str:
    victim = campaign.victim
    shown = {
        "format": 1,
        "model": {"task": victim.task.name, "name": victim.name, "digest": victim.digest},
        "part": part,
        "settings": [settings.model_dump(mode="json") for settings in campaign.attacks],
        "attacks": [one.model_dump(mode="json") for one in figures],
    }
    return json.dumps(shown, indent=1) + "\n"


def _hold_to(gate: float | None, figures: "Sequence[AttackFigures]") -> None:
    """End the command with 1 and a sentence where a model keeps too little under one of the attacks."""
    worst = min(figures, key=lambda one: one.under_attack)
    if gate is not None and worst.under_attack < gate:
        typer.echo(
            f"steadfast: accuracy under the attack {worst.attack} {worst.words} is {worst.under_attack:.4f}, and "
            f"--gate asks for {gate:g}; train for it, or lower the gate",
            err=True,
        )
        raise typer.Exit(BELOW_GATE)
