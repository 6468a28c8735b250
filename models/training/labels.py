"""Finds the labels of a task that has none of its own in the training data."""

from collections.abc import Collection, Sequence

from models.data import declared_labels, read_answers
from models.tasks import find_task
from models.tasks.classification import NUMBER
from models.tasks.labels.matching import plain_name
from models.tasks.task import AnyTask
from models.training.settings import TrainingError, TrainingSettings

MOST_LABELS = 1_000
"""Most labels that are taken from data; a column with more of them is hardly one of labels."""


def with_labels(settings: TrainingSettings) -> TrainingSettings:
    """The same settings with the labels of the training parts, where neither they nor the task name any.

    Labels are in the order of the alphabet, and in that of numbers if all are numbers. So they do not depend on the
    order of the records, nor on how many of them are drawn. A hub's data set that names the numbers of its labels keeps
    their order.

    Raises:
        DataError: a part cannot be read.
        TrainingError: there are too few labels, too many, or some that are hard to tell apart.
    """
    task = find_task(settings.task)
    if task.has_own_labels or settings.labels is not None:
        return settings
    labels = declared_labels(settings.source, task)
    if labels is None:
        labels = _in_order(_collect(settings, task))
    else:
        _refuse_other_places(labels, settings)
    _refuse_alike(labels, settings)
    found = settings.model_copy(update={"labels": labels})
    try:
        task.check_outputs(found.outputs)
    except ValueError as error:
        shown = ", ".join(map(repr, labels)) or "none"
        raise TrainingError(f"{_name_parts(settings)}: {error}, and the labels are: {shown}") from error
    return found


def _collect(settings: TrainingSettings, task: AnyTask) -> set[str]:
    labels: set[str] = set()
    for answer in read_answers(settings.source, task):
        named = task.name_labels(answer)
        labels.update(named)
        if len(labels) > MOST_LABELS:
            raise TrainingError(
                f"{_name_parts(settings)}: more than {MOST_LABELS:,} different labels, such as {named[-1]!r}; is that "
                "column the right one? If it is, name the labels in the settings file"
            )
    return labels


def _refuse_other_places(labels: Sequence[str], settings: TrainingSettings) -> None:
    """Refuse classes that are called by the numbers of others: nobody could tell a class's number from a name."""
    for place, label in enumerate(labels):
        if NUMBER.fullmatch(label.strip()) and label != str(place):
            raise TrainingError(
                f"{settings.source.data}: calls class {place} {label!r}, which reads as another number; give all "
                "classes names with --labels, in the order of their numbers"
            )


def _in_order(labels: set[str]) -> tuple[str, ...]:
    if all(NUMBER.fullmatch(label) for label in labels):
        # Python reads an integer of 4,300 digits at most, and a float of any number.
        return tuple(sorted(labels, key=lambda label: (float(label), label)))
    return tuple(sorted(labels))


def _refuse_alike(labels: Collection[str], settings: TrainingSettings) -> None:
    by_name: dict[str, str] = {}
    for label in sorted(labels):
        other = by_name.setdefault(plain_name(label), label)
        if other != label:
            raise TrainingError(
                f"{_name_parts(settings)}: the labels {other!r} and {label!r} differ in nothing but case or signs; "
                "write them alike, or name all labels in the settings"
            )


def _name_parts(settings: TrainingSettings) -> str:
    return ", ".join(settings.source.train)
