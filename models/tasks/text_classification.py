"""Classification of one text by labels of the user's own: one of several that exclude each other, such as topics or
intents, or any number of labels, such as kinds of abuse or subjects."""

import ast
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from models.correction.reading import CorrectedWords
from models.tasks.classification import check_labels, label_reader, name_label, name_one_label, read_label
from models.tasks.goals import Goal, Move, Standing
from models.tasks.robustness import Robustness
from models.tasks.sentiment import SENTIMENT, encode
from models.tasks.task import (
    NO_OUTPUTS,
    AnswerPart,
    Claim,
    Judgement,
    LabelScore,
    Logits,
    Outputs,
    Prediction,
    Targets,
    Task,
    TaskAnswer,
    TextItem,
    parse_list,
    rank_labels,
    sigmoid,
)
from models.tasks.texts.probe_texts import TEXTS
from models.text import Encoded

TEXT_CLASSIFICATION = replace(
    SENTIMENT,
    name="text-classification",
    endpoint="text-classification",
    outputs=NO_OUTPUTS,
    known_as={},
    read_target=label_reader({}),
    name_labels=name_one_label,
    robustness=Robustness(noisy_fields=("text",)),
    sample_items={
        "a question to a shop": {"text": "Where is my parcel? It should have been here on Monday."},
        "news": {"text": "The central bank left interest rates unchanged for the third time in a row."},
        "typing errors": {"text": "pleese cancell my subscribtion, i dont need it anymore"},
    },
)

_MARKS = ("|", ";", ",")
"""Signs that part the labels of a text in a cell; the first that stands there does, so that others may be in names."""

MultiHot = tuple[float, ...]
"""For each label 1 where a text has it, and else 0."""


class LabelsAnswer(TaskAnswer):
    """The labels of a text, of which there may be any number, and the probability of every label."""

    labels: tuple[str, ...] = Field(
        description="Labels whose probability reaches the model's threshold, most probable first; may be empty."
    )
    scores: tuple[LabelScore, ...] = Field(description="Every label, most probable first; they do not add up to 1.")

    def judgements(self) -> tuple[Judgement, ...]:
        """The labels that the text has."""
        return tuple(Judgement(one.label, one.score) for one in self._given)

    def is_sure(self, least: float) -> bool:
        """Whether every label that was given is as probable as that, and every other as improbable."""
        others = self.scores[len(self.labels) :]
        return super().is_sure(least) and all(1 - one.score >= least for one in others)

    def headlines(self) -> tuple[str, ...]:
        """One line for each label, or a remark that there is none."""
        return tuple(f"{one.label}  {one.score:.3f}" for one in self._given) or ("no labels",)

    def part_names(self) -> tuple[str, ...]:
        """The labels that the text has."""
        return self.labels

    @property
    def _given(self) -> tuple[LabelScore, ...]:
        return self.scores[: len(self.labels)]


def decode(logits: Sequence[Logits], encoded: Encoded, outputs: Outputs) -> Prediction[LabelsAnswer]:
    """Judge each label on its own, in the window that speaks most for it.

    A long text has a label if one of its windows has it: what a paragraph says is not undone by the others.
    """
    del encoded
    stacked = np.stack(logits)  # (windows, labels)
    best = stacked.argmax(axis=0)
    probabilities = sigmoid(stacked.max(axis=0))
    scores = rank_labels(probabilities, outputs.labels)
    labels = tuple(one.label for one in scores if one.score >= outputs.label_threshold)
    return Prediction(
        LabelsAnswer(labels=labels, scores=scores),
        outcome=_multi_hot([outputs.labels.index(label) for label in labels], len(outputs.labels)),
        parts=tuple(_part_of(outputs.labels.index(label), best, outputs) for label in labels),
    )


def _part_of(label: int, best: npt.NDArray[np.intp], outputs: Outputs) -> AnswerPart:
    return AnswerPart(outputs.labels[label], rows=(int(best[label]),), target={(label,): 1.0})


def aim_at_label(
    label: int, parts: Sequence[AnswerPart], logits: Sequence[Logits], encoded: Encoded, outputs: Outputs
) -> tuple[AnswerPart]:
    """The one part that explains how far a label is the text's, whether it has been given or not."""
    del parts, encoded
    return (_part_of(label, np.stack(logits).argmax(axis=0), outputs),)


def claims(prediction: Prediction[LabelsAnswer], encoded: Encoded, outputs: Outputs) -> tuple[Claim, ...]:
    """Claim each label of the answer, supported by its probability."""
    del encoded

    def claim(number: int) -> Claim:
        return Claim(lambda logits, _: float(sigmoid(np.stack(logits)[:, number].max())))

    return tuple(claim(outputs.labels.index(label)) for label in prediction.answer.labels)


def has_other_labels(before: LabelsAnswer, after: LabelsAnswer) -> bool:
    """Whether two answers differ in a label, in whatever order."""
    return set(before.labels) != set(after.labels)


def read_labels(value: Any, encoded: Encoded, outputs: Outputs) -> MultiHot:
    """Read the labels of a text, each by its name or its number; see `split_labels`.

    Raises:
        ValueError: something is none of the labels; the message lists what is accepted.
    """
    del encoded
    # A label whose name has a mark in it is itself, and no list.
    named = [value] if isinstance(value, str) and value.strip() in outputs.labels else split_labels(value)
    if named is None:
        raise ValueError(f"labels {value!r}: must be a list of labels, empty where a text has none")
    numbers = [read_label(one, outputs.labels, {}) for one in named]
    if len(set(numbers)) < len(numbers):
        raise ValueError(
            f"labels {value!r:.80}: one is there twice; where a list has a 0 or 1 for each label, give the names of "
            "those that hold"
        )
    return _multi_hot(numbers, len(outputs.labels))


def split_labels(value: Any) -> list[Any] | None:
    """The labels in a value of a data file: a list, also as JSON, or a text with bars, semicolons or commas in between.

    A list may be written as Python writes it, and stand in an object under `choices`, as Label Studio writes several. A
    single label stands for itself, and an empty text for no label. None where the value is nothing of that.
    """
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        value = _parse(value)
        if isinstance(value, str):
            return None
    if isinstance(value, Mapping):
        value = value.get("choices")
    if isinstance(value, list | tuple | set):
        return list(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [value]
    if not isinstance(value, str):
        return None
    mark = next((mark for mark in _MARKS if mark in value), None)
    return [one.strip() for one in re.split(re.escape(mark) if mark else r"\Z", value) if one.strip()]


def _parse(text: str) -> Any:
    """The value that a text writes, as JSON or as Python has it; the text itself where it is neither."""
    value = parse_list(text)
    if value is text:
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return ast.literal_eval(text.strip())
    return value


def name_labels(value: Any) -> tuple[str, ...]:
    """The names of the labels that a data file gives a text, as `read_labels` finds them; none if one is twice."""
    names = [name for one in split_labels(value) or () if (name := name_label(one))]
    return tuple(names) if len(set(names)) == len(names) else ()


def _multi_hot(numbers: Sequence[int], count: int) -> MultiHot:
    return tuple(float(number in numbers) for number in range(count))


def labels_goal(target: MultiHot, encoded: Encoded, outputs: Outputs) -> Goal:
    """Exactly the right labels; the support is their probability as a whole, as if labels did not hang together."""
    del encoded
    right = {label for label, has in zip(outputs.labels, target, strict=True) if has}

    def judge(first: LabelsAnswer, answer: LabelsAnswer, move: Move) -> Standing:
        del first, move
        support = math.prod(one.score if one.label in right else 1 - one.score for one in answer.scores)
        return Standing(set(answer.labels) == right, support)

    return Goal(judge)


def measure(targets: Sequence[MultiHot], outcomes: Sequence[MultiHot], outputs: Outputs) -> dict[str, float]:
    """F1 over all labels of all texts, F1 averaged over the labels, and the share of texts with exactly their labels.

    A label that no text has and none is given counts as 0, as scikit-learn has it.
    """
    # Here, not at the top: serving installs no scikit-learn.
    from sklearn.metrics import accuracy_score, f1_score

    del outputs
    right, found = np.array(targets, dtype=int), np.array(outcomes, dtype=int)
    return {
        "micro_f1": float(f1_score(right, found, average="micro", zero_division=0)),
        "macro_f1": float(f1_score(right, found, average="macro", zero_division=0)),
        "exact_match": float(accuracy_score(right, found)),
    }


MULTI_LABEL_CLASSIFICATION = Task(
    name="multi-label-classification",
    endpoint="multi-label-classification",
    item=TextItem,
    answer=LabelsAnswer,
    columns=SENTIMENT.columns,
    target_column="labels",
    outputs=NO_OUTPUTS,
    head="multi-label-classification",
    main_metric="micro_f1",
    encode=encode,
    decode=decode,
    claims=claims,
    read_target=read_labels,
    name_labels=name_labels,
    goal=labels_goal,
    measure=measure,
    check_outputs=check_labels,
    changed=has_other_labels,
    probe_items=tuple({"text": text} for text in TEXTS),
    explains_each=True,
    targets=Targets(names=lambda _, outputs: outputs.labels, aim=aim_at_label),
    corrected=CorrectedWords(("text",)),
    robustness=Robustness(noisy_fields=("text",)),
    sample_items={
        "two things at once": {"text": "The parcel came two weeks late, and the lamp in it is broken."},
        "praise and a question": {"text": "Lovely service, thank you! Do you deliver to Iceland, too?"},
        "typing errors": {"text": "i wnat my mony back, nobdy answers the phone"},
    },
)
