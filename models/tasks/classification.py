"""The answer, targets and metrics of tasks that give an item one of a few labels."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from models.tasks.goals import Goal, Move, Standing
from models.tasks.labels.matching import find_label, plain_name
from models.tasks.task import (
    AnswerPart,
    Claim,
    Judgement,
    LabelScore,
    Logits,
    Outputs,
    Prediction,
    Targets,
    TaskAnswer,
    aim_each,
    contrast,
    rank_labels,
    read_place,
    softmax,
)
from models.text import Encoded

NUMBER = re.compile(r"-?[0-9]+", re.ASCII)
"""A label that is a number."""

_MOST_SHOWN = 20
"""Labels that a message lists."""

_WHOLE_NUMBER = re.compile(r"([0-9]{1,9})(?:\.0+)?", re.ASCII)


class LabelAnswer(TaskAnswer):
    """The most probable label and all labels' probabilities."""

    label: str
    score: float = Field(ge=0, le=1, description="Probability of `label`.")
    scores: tuple[LabelScore, ...] = Field(description="Every label, most probable first.")

    def judgements(self) -> tuple[Judgement, ...]:
        """The label."""
        return (Judgement(self.label, self.score),)


def decode_mean(logits: Sequence[Logits], encoded: Encoded, outputs: Outputs) -> Prediction[LabelAnswer]:
    """Average the windows' probabilities with their lengths as weights; for a single window this is a plain softmax."""
    weights = np.array([len(row) for row in encoded.rows], dtype=np.float64)
    probabilities = softmax(np.stack(logits))
    return predict_label(weights @ probabilities / weights.sum(), outputs, range(len(weights)))


def predict_label(
    probabilities: npt.NDArray[np.float64], outputs: Outputs, rows: Sequence[int]
) -> Prediction[LabelAnswer]:
    """Make the answer from the labels' probabilities; `rows` are the rows that they came from."""
    scores = rank_labels(probabilities, outputs.labels)
    answer = LabelAnswer(label=scores[0].label, score=scores[0].score, scores=scores)
    outcome = outputs.labels.index(answer.label)
    part = AnswerPart(answer.label, rows=tuple(rows), target=contrast(outcome, len(outputs.labels)))
    return Prediction(answer, outcome=outcome, parts=(part,))


def aim_at_label(
    label: int, part: AnswerPart, logits: Sequence[Logits], encoded: Encoded, outputs: Outputs
) -> AnswerPart:
    """The part that explains, by the same rows, why the answer would be `label`."""
    del logits, encoded
    return replace(part, name=outputs.labels[label], target=contrast(label, len(outputs.labels)))


LABEL_TARGETS = Targets(names=lambda _, outputs: outputs.labels, aim=aim_each(aim_at_label))
"""Any label may be asked for; of a model that gives a number, that number."""


def is_other_label(before: LabelAnswer, after: LabelAnswer) -> bool:
    """Whether two answers differ in their label."""
    return before.label != after.label


def claim_label(
    decode: Callable[[Sequence[Logits], Encoded, Outputs], Prediction[LabelAnswer]],
) -> Callable[[Prediction[LabelAnswer], Encoded, Outputs], Sequence[Claim]]:
    """Make the `claims` of a task whose answers are labels: the label's probability, as `decode` gives it."""

    def claims(prediction: Prediction[LabelAnswer], encoded: Encoded, outputs: Outputs) -> tuple[Claim]:
        del encoded
        label = prediction.answer.label

        def support(logits: Sequence[Logits], encoded: Encoded) -> float:
            scores = decode(logits, encoded, outputs).answer.scores
            return next(one.score for one in scores if one.label == label)

        return (Claim(support),)

    return claims


def label_reader(known_as: Mapping[str, Sequence[str]]) -> Callable[[Any, Encoded, Outputs], int]:
    """Make the `read_target` of a task whose labels have these other names."""

    def read(value: Any, encoded: Encoded, outputs: Outputs) -> int:
        del encoded
        return read_label(value, outputs.labels, known_as)

    return read


def read_label(value: Any, labels: Sequence[str], known_as: Mapping[str, Sequence[str]]) -> int:
    """Read a label, given by its number or by its name, as its number.

    A name that is none of the labels may be another name of one, by `known_as`; case, and signs between words, do not
    matter. A number may be a text or a float. Where a label is a number itself, only the names count.

    Raises:
        ValueError: none of these; the message lists what is accepted.
    """
    if isinstance(value, str) and value in labels:
        return labels.index(value)
    value = _whole(value)
    if isinstance(value, int) and not isinstance(value, bool) and str(value) in labels:
        return labels.index(str(value))
    # Beside labels that are numbers, such as stars, a number is a label, and no place.
    has_places = not any(NUMBER.fullmatch(label) for label in labels)
    number = read_place(value, len(labels)) if has_places else None
    if number is None and isinstance(value, str | bool):
        number = _find_name(str(value), labels, known_as)
    if number is not None:
        return number
    shown = enumerate(labels[:_MOST_SHOWN])
    known = ", ".join(f"{place} or {label!r}" if has_places else repr(label) for place, label in shown)
    more = f" and {len(labels) - _MOST_SHOWN} more" if len(labels) > _MOST_SHOWN else ""
    raise ValueError(f"label {value!r} is none of: {known}{more}")


def name_label(value: Any) -> str | None:
    """The name of a label that a data file gives, as `read_label` finds it again; None for what names none.

    Blanks around it do not count, and 1, 1.0 and "1" are one label.
    """
    value = _whole(value)
    if isinstance(value, int):
        return str(value)
    return (value.strip() or None) if isinstance(value, str) else None


def name_one_label(value: Any) -> tuple[str, ...]:
    """`name_label` as tasks without labels of their own have it: the name alone, or nothing."""
    name = name_label(value)
    return () if name is None else (name,)


def _whole(value: Any) -> Any:
    """A number without a fraction, which data frames write as 1.0 and csv as a text, as an integer."""
    if isinstance(value, str):
        found = _WHOLE_NUMBER.fullmatch(value.strip())
        return int(found[1]) if found else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _find_name(name: str, labels: Sequence[str], known_as: Mapping[str, Sequence[str]]) -> int | None:
    """The place of the only label that has this name, or else this other name; None without one."""
    for wanted in (name, find_label(known_as, name)):
        found = [place for place, label in enumerate(labels) if wanted and plain_name(label) == plain_name(wanted)]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def label_goal(target: int, encoded: Encoded, outputs: Outputs) -> Goal:
    """The right label and its probability."""
    del encoded
    label = outputs.labels[target]

    def judge(first: LabelAnswer, answer: LabelAnswer, move: Move) -> Standing:
        del first, move
        return Standing(answer.label == label, next(one.score for one in answer.scores if one.label == label))

    return Goal(judge)


def check_labels(outputs: Outputs) -> None:
    """Refuse fewer than two labels; raises ValueError."""
    if len(outputs.labels) < 2:
        raise ValueError("two labels or more are needed")


def measure_macro(targets: Sequence[int], outcomes: Sequence[int], outputs: Outputs) -> dict[str, float]:
    """Accuracy, and F1 averaged over the labels."""
    # Here, not at the top: serving installs no scikit-learn.
    from sklearn.metrics import accuracy_score, f1_score

    del outputs
    return {
        "accuracy": float(accuracy_score(targets, outcomes)),
        "f1": float(f1_score(targets, outcomes, average="macro")),
    }
