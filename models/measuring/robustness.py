"""Measures how well a model holds beyond its validation records: on sets made to mislead it, on noisy texts, on suites.

Each task declares in `Task.robustness` what is measured. Noisy texts are made from the validation part while it is
read; each is a pure function of the text that it is made from.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.data import ONE_OF, Example, draw_rows, load_part
from models.evaluation import EvaluatedModel, predict_all
from models.files.formats import Records
from models.files.layout import USUAL_LAYOUT, Layout
from models.files.parts import DataError, has_part
from models.files.rows import Record
from models.measuring.checklist import LABELS as CHECKLIST_LABELS
from models.measuring.checklist import failure_rates, judge, read_cases
from models.measuring.perturbations import PERTURBATIONS, Perturbation
from models.progress import ReportProgress
from models.synonyms.wordnet import WordNetError
from models.tasks.robustness import NoiseName, RobustnessSet
from models.tasks.task import AnyTask, Item, Outputs
from models.text import Encoded, Reader, Truncation

EXAMPLES_PER_REPORT = 256
"""Number of examples measured between two reports of progress."""

MetricValues = dict[str, float]
"""Metrics by name, with the number of examples under `rows`."""


@dataclass(frozen=True)
class RobustnessReport:
    """The metrics of each part, noise, set and suite that was measured, and the reason for each that was left out."""

    found: dict[str, MetricValues]
    left_out: dict[str, str]


def measure_robustness(
    model: EvaluatedModel,
    data: str,
    parts: Sequence[str],
    progress: ReportProgress,
    most_rows: int | None = None,
    layout: Layout = USUAL_LAYOUT,
) -> RobustnessReport:
    """Measure each of `parts` as it is and with noise, and every declared set and suite that is in the folder.

    `layout` is that of `parts`; sets and suites have their usual names.

    With `most_rows`, that many examples are drawn from a larger set, always the same ones; groups stay whole.

    Raises:
        DataError: one of `parts` cannot be read.
    """
    declared = model.task.robustness
    run = _Measurement(model, data, progress, most_rows)
    report = RobustnessReport({}, {})
    for part in parts:
        report.found[part] = run.measure(part, model.task, part, layout=layout)
        for noise in declared.noises if declared.noisy_fields else ():
            name = f"{part}, {noise}"
            try:
                report.found[name] = run.measure(name, make_noisy(model.task, noise), part, layout=layout)
            except WordNetError as error:
                report.left_out[name] = str(error)
    for one in declared.sets:
        try:
            report.found[one.name] = run.measure_set(one)
        except DataError as error:
            report.left_out[one.name] = str(error)
    if declared.suite is not None:
        try:
            report.found.update(run.measure_suite(declared.suite))
        except DataError as error:
            report.left_out["CheckList"] = str(error)
    return report


def measure_parts(
    model: EvaluatedModel, data: str, parts: Sequence[str], progress: ReportProgress, layout: Layout = USUAL_LAYOUT
) -> dict[str, MetricValues]:
    """Measure each of `parts` as it is; raises DataError."""
    run = _Measurement(model, data, progress, None)
    return {part: run.measure(part, model.task, part, layout=layout) for part in parts}


def measure_examples(
    model: EvaluatedModel,
    examples: Sequence[Example],
    merged: Mapping[int, int] | None = None,
    advance: Callable[[int], None] | None = None,
) -> MetricValues:
    """The task's metrics, and `consistency` where examples form groups: the share of groups that are right throughout.

    `merged` maps outcomes to the outcome that they count as. Consistency follows Gardner et al. (Findings of EMNLP
    2020, section 2). `advance` is called with the number of examples done.
    """
    outcomes: list[Any] = []
    for chosen in _slices(examples):
        predicted = predict_all(model, [example.encoded for example in chosen])
        outcomes.extend(prediction.outcome for prediction in predicted)
        if advance is not None:
            advance(len(outcomes))
    if merged:
        outcomes = [merged.get(outcome, outcome) for outcome in outcomes]
    found = model.task.measure([example.target for example in examples], outcomes, model.outputs)
    right: dict[str, bool] = {}
    for example, outcome in zip(examples, outcomes, strict=True):
        if example.group is not None:
            right[example.group] = right.get(example.group, True) and example.target == outcome
    if right:
        found["consistency"] = sum(right.values()) / len(right)
    return found | {"rows": len(examples)}


def make_noisy(task: AnyTask, noise: NoiseName) -> AnyTask:
    """The same task, except that it reads the texts of its noisy fields with noise; raises WordNetError."""
    # A missing WordNet is found now; later it would be taken for a fault of every record.
    PERTURBATIONS[noise]("", random.Random(0))
    fields = task.robustness.noisy_fields

    def encode(item: Item, reader: Reader, truncation: Truncation) -> Encoded:
        changed = {name: _change(getattr(item, name), PERTURBATIONS[noise], noise) for name in fields}
        return task.encode(item.model_copy(update=changed), reader, truncation)

    return replace(task, encode=encode)


@dataclass(frozen=True)
class _Measurement:
    """One model, measured on parts of one data folder."""

    model: EvaluatedModel
    data: str
    progress: ReportProgress
    most_rows: int | None

    def measure(
        self,
        name: str,
        task: AnyTask,
        part: str,
        select: Callable[[Records], Records] = iter,
        merged: Mapping[int, int] | None = None,
        layout: Layout = USUAL_LAYOUT,
    ) -> MetricValues:
        """Measure one part, read by `task`; progress is reported under `name`."""
        model = self.model
        self.progress(name, 0, 0)
        loaded = load_part(self.data, part, "validation", task, model.outputs, model.reader, select, layout)
        examples = draw_rows(loaded.examples, self.most_rows, [example.group for example in loaded.examples])
        return measure_examples(model, examples, merged, lambda done: self.progress(name, done, len(examples)))

    def measure_set(self, declared: RobustnessSet) -> MetricValues:
        """Measure a robustness set; raises DataError where it is not in the folder or the model lacks its labels."""
        self._check(declared.part)
        task, outputs = self.model.task, self.model.outputs
        same = {label: _places_of(names, label, outputs) for label, names in declared.merged.items()}

        def read_target(value: Any, encoded: Encoded, outputs: Outputs) -> Any:
            is_merged = isinstance(value, str) and value in same
            return same[value][0] if is_merged else task.read_target(value, encoded, outputs)

        def select(records: Records) -> Records:
            if declared.where is None:
                return records
            column, wanted = declared.where
            return (one for one in records if not isinstance(one, Record) or one.values.get(column) == wanted)

        merged = {place: places[0] for places in same.values() for place in places}
        return self.measure(declared.name, replace(task, read_target=read_target), declared.part, select, merged)

    def measure_suite(self, part: str) -> dict[str, MetricValues]:
        """Measure a CheckList suite; raises DataError where it is not in the folder or does not fit the labels."""
        self._check(part)
        labels = self.model.outputs.labels
        if not {"negative", "positive"} <= set(labels) <= set(CHECKLIST_LABELS):
            raise DataError(f"the model's labels are {', '.join(labels)}; the suite speaks of negative and positive")
        cases = draw_rows(read_cases(self.data, part), self.most_rows)
        results: list[bool | None] = []
        for chosen in _slices(cases):
            results.extend(judge(self.model, chosen))
            self.progress("CheckList", len(results), len(cases))
        return {f"CheckList {kind}": found for kind, found in failure_rates(cases, results).items()}

    def _check(self, part: str) -> None:
        if not has_part(self.data, part):
            raise DataError(f"{self.data} has no {part}")


def _slices(examples: Sequence[ONE_OF]) -> Iterator[Sequence[ONE_OF]]:
    return (examples[start : start + EXAMPLES_PER_REPORT] for start in range(0, len(examples), EXAMPLES_PER_REPORT))


def _change(value: Any, perturb: Perturbation, noise: NoiseName) -> Any:
    """Change a text, or the words of one, by draws that depend only on the text and the kind of noise."""
    if isinstance(value, str):
        return perturb(value, random.Random(f"{noise}/{value}"))
    words = "\n".join(value)
    return tuple(perturb(words, random.Random(f"{noise}/{words}")).split("\n"))


def _places_of(names: Sequence[str], label: str, outputs: Outputs) -> list[int]:
    """Numbers of the model's labels that are among `names`; raises DataError where there are none."""
    places = [place for place, own in enumerate(outputs.labels) if own in names]
    if not places:
        raise DataError(f"the model's labels are {', '.join(outputs.labels)}, none of which means {label!r}")
    return places
