"""How well a model holds beyond its validation rows: sets made to mislead it, noisy texts, and behaviour tests.

What is measured for a task is data: a declaration in `ROBUSTNESS`. Noisy texts are made while they are read, from the
validation part, and are a pure function of each text.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from models.data import ONE_OF, DataError, Example, draw_rows, has_part, load_part
from models.evaluation import EvaluatedModel, predict_all
from models.measuring.checklist import LABELS as CHECKLIST_LABELS
from models.measuring.checklist import failure_rates, judge, read_cases
from models.measuring.perturbations import PERTURBATIONS, Perturbation
from models.records import Record, Rows
from models.synonyms.wordnet import WordNetError
from models.tasks.task import AnyTask, Item, Outputs
from models.text import Encoded, Reader, Truncation

SLICE = 256
"""Rows between two reports of progress."""

Found = dict[str, float]
"""Metrics by name, and `rows`."""

Progress = Callable[[str, int, int], None]
"""What is being measured, rows done, rows in all."""


@dataclass(frozen=True, kw_only=True)
class RobustnessSet:
    """A part of a data folder that shows what a model has learnt beside its task."""

    name: str
    part: str
    """File without its ending, seen from the task's own data folder."""
    where: tuple[str, Any] | None = None
    """Column and value of the rows that count."""
    merged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Labels of the file that a model may not have, each with those of a model that mean it."""


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """What is measured for a task."""

    fields: tuple[str, ...]
    """Those that are made noisy, of what the task's data files hold."""
    noises: tuple[str, ...] = tuple(PERTURBATIONS)
    sets: tuple[RobustnessSet, ...] = ()
    suite: str | None = None
    """Part with a CheckList suite, seen as a set's is."""


@dataclass(frozen=True)
class RobustnessReport:
    """What was measured, by name, and what could not be, each with the reason."""

    found: dict[str, Found]
    left_out: dict[str, str]


NOT_ENTAILED = ("neutral", "contradiction", "not_entailment", "non-entailment")

ROBUSTNESS: dict[str, Robustness] = {
    "sentiment": Robustness(
        fields=("text",),
        sets=(
            RobustnessSet(name="IMDB contrast", part="imdb_contrast_validation"),
            RobustnessSet(name="IMDB counterfactual", part="imdb_counterfactual_validation"),
            RobustnessSet(name="Rotten Tomatoes", part="rotten_tomatoes_validation", where=("in_sst2_train", False)),
        ),
        suite="../checklist/sentiment_suite",
    ),
    "nli": Robustness(
        fields=("premise", "hypothesis"),
        sets=(
            RobustnessSet(name="HANS", part="hans_evaluation", merged={"non-entailment": NOT_ENTAILED}),
            *(
                RobustnessSet(name=f"ANLI {of}", part="anli_validation", where=("round", of))
                for of in ("r1", "r2", "r3")
            ),
            RobustnessSet(name="SNLI hard", part="snli_validation", where=("hard", True)),
            RobustnessSet(name="SNLI counterfactual", part="snli_counterfactual_validation"),
            RobustnessSet(name="ConjNLI", part="conjnli_validation"),
            RobustnessSet(name="MoNLI", part="monli"),
            RobustnessSet(name="RTE", part="rte_validation", merged={"not_entailment": NOT_ENTAILED}),
        ),
    ),
    "paraphrase": Robustness(
        fields=("text_a", "text_b"),
        sets=(
            RobustnessSet(name="PAWS", part="paws_wiki_validation"),
            RobustnessSet(name="MRPC", part="mrpc_test"),
        ),
    ),
    "sts": Robustness(
        fields=("text_a", "text_b"), sets=(RobustnessSet(name="SICK relatedness", part="../nli/sick_test"),)
    ),
    # Swapped, words would no longer stand where their tags do.
    "ner": Robustness(fields=("tokens",), noises=("typos",)),
    "reading-comprehension": Robustness(
        fields=("context", "question"), sets=(RobustnessSet(name="BoolQ contrast", part="boolq_contrast"),)
    ),
    # The answer is a span of the context, which therefore stays.
    "extractive-reading-comprehension": Robustness(fields=("question",)),
}


def measure_robustness(
    model: EvaluatedModel, data: str, parts: Sequence[str], progress: Progress, most_rows: int | None = None
) -> RobustnessReport:
    """Each of `parts` as it is and with noise, and every declared set that is there.

    With `most_rows`, of a larger set so many rows are drawn, always the same; groups stay whole.

    Raises:
        DataError: one of `parts` cannot be read.
    """
    declared = ROBUSTNESS[model.task.name]
    ruler = _Ruler(model, data, progress, most_rows)
    report = RobustnessReport({}, {})
    for part in parts:
        report.found[part] = ruler.measure(part, model.task, part)
        for noise in declared.noises:
            name = f"{part}, {noise}"
            try:
                report.found[name] = ruler.measure(name, _make_noisy(model.task, declared.fields, noise), part)
            except WordNetError as error:
                report.left_out[name] = str(error)
    for one in declared.sets:
        try:
            report.found[one.name] = ruler.measure_set(one)
        except DataError as error:
            report.left_out[one.name] = str(error)
    if declared.suite is not None:
        try:
            report.found.update(ruler.measure_suite(declared.suite))
        except DataError as error:
            report.left_out["CheckList"] = str(error)
    return report


def measure_parts(model: EvaluatedModel, data: str, parts: Sequence[str], progress: Progress) -> dict[str, Found]:
    """Each of `parts` as it is; raises DataError."""
    ruler = _Ruler(model, data, progress, None)
    return {part: ruler.measure(part, model.task, part) for part in parts}


def measure_examples(
    model: EvaluatedModel,
    examples: Sequence[Example],
    merged: Mapping[int, int] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Found:
    """The task's metrics, and for examples in groups `consistency`: the share of groups that are right throughout.

    `merged` maps outcomes that count as another (Gardner et al., Findings of EMNLP 2020, section 2, has consistency).
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


@dataclass(frozen=True)
class _Ruler:
    model: EvaluatedModel
    data: str
    progress: Progress
    most_rows: int | None

    def measure(
        self,
        name: str,
        task: AnyTask,
        part: str,
        select: Callable[[Rows], Rows] = iter,
        merged: Mapping[int, int] | None = None,
    ) -> Found:
        model = self.model
        self.progress(name, 0, 0)
        loaded = load_part(self.data, part, "validation", task, model.outputs, model.reader, select)
        examples = draw_rows(loaded.examples, self.most_rows, [example.group for example in loaded.examples])
        return measure_examples(model, examples, merged, lambda done: self.progress(name, done, len(examples)))

    def measure_set(self, declared: RobustnessSet) -> Found:
        self._check(declared.part)
        task, outputs = self.model.task, self.model.outputs
        meant = {label: _meant(label, names, outputs) for label, names in declared.merged.items()}

        def read_target(value: Any, encoded: Encoded, outputs: Outputs) -> Any:
            return (
                meant[value][0]
                if isinstance(value, str) and value in meant
                else task.read_target(value, encoded, outputs)
            )

        def select(rows: Rows) -> Rows:
            if declared.where is None:
                return rows
            column, wanted = declared.where
            return (row for row in rows if not isinstance(row, Record) or row.values.get(column) == wanted)

        merged = {place: places[0] for places in meant.values() for place in places}
        return self.measure(declared.name, replace(task, read_target=read_target), declared.part, select, merged)

    def measure_suite(self, part: str) -> dict[str, Found]:
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


def _slices(rows: Sequence[ONE_OF]) -> Iterator[Sequence[ONE_OF]]:
    return (rows[start : start + SLICE] for start in range(0, len(rows), SLICE))


def _make_noisy(task: AnyTask, fields: Sequence[str], noise: str) -> AnyTask:
    """The task, reading noise in place of the texts that it is given; raises WordNetError."""
    # What a noise misses is found missing now, and not taken for a fault of every row.
    PERTURBATIONS[noise]("", random.Random(0))

    def encode(item: Item, reader: Reader, truncation: Truncation) -> Encoded:
        changed = {name: _change(getattr(item, name), PERTURBATIONS[noise], noise) for name in fields}
        return task.encode(item.model_copy(update=changed), reader, truncation)

    return replace(task, encode=encode)


def _change(value: Any, perturb: Perturbation, noise: str) -> Any:
    """A text, or a text's words, changed by draws that depend on the text and the kind of noise alone."""
    if isinstance(value, str):
        return perturb(value, random.Random(f"{noise}/{value}"))
    words = "\n".join(value)
    return tuple(perturb(words, random.Random(f"{noise}/{words}")).split("\n"))


def _meant(label: str, names: Sequence[str], outputs: Outputs) -> list[int]:
    places = [place for place, own in enumerate(outputs.labels) if own in names]
    if not places:
        raise DataError(f"the model's labels are {', '.join(outputs.labels)}, none of which means {label!r}")
    return places
