"""Sentiment of one text: negative or positive."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.tasks.task import Item, LabelScore, Logits, Prediction, Task, rank_labels, softmax
from models.text import Encoded, Reader, Truncation


def _or_a_string(schema: dict[str, Any]) -> None:
    described = schema.copy()
    schema.clear()
    schema["anyOf"] = [{"type": "string"}, described]


class SentimentItem(Item):
    """One text; a bare string is short for `{"text": ...}`."""

    model_config = ConfigDict(json_schema_extra=_or_a_string)

    text: str

    @model_validator(mode="before")
    @classmethod
    def _accept_bare_string(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value


class SentimentAnswer(BaseModel):
    """The most probable label and all labels' probabilities."""

    model_config = ConfigDict(frozen=True)

    label: str
    score: float = Field(ge=0, le=1, description="Probability of `label`.")
    scores: tuple[LabelScore, ...] = Field(description="Every label, most probable first.")


def encode(item: SentimentItem, reader: Reader, truncation: Truncation) -> Encoded:
    """Rows of one text."""
    return reader.read(item.text, truncation=truncation)


def decode(logits: Logits, encoded: Encoded, labels: Sequence[str]) -> Prediction[SentimentAnswer]:
    """Probabilities of each window, averaged with its length as weight; one window is a plain softmax."""
    weights = np.array([len(row) for row in encoded.rows], dtype=np.float64)
    probabilities = softmax(logits) if len(weights) == 1 else weights @ softmax(logits) / weights.sum()
    scores = rank_labels(probabilities.reshape(-1), labels)
    answer = SentimentAnswer(label=scores[0].label, score=scores[0].score, scores=scores)
    return Prediction(answer, target=answer.label)


def read_target(value: Any, labels: Sequence[str]) -> int:
    """A label's number, given as that number or by name.

    Raises:
        ValueError: neither; the message lists what is accepted.
    """
    if isinstance(value, str) and value in labels:
        return labels.index(value)
    # A csv file's numbers are read as strings.
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(labels):
        return number
    known = ", ".join(f"{place} or {label!r}" for place, label in enumerate(labels))
    raise ValueError(f"label {value!r} is none of: {known}")


def measure(targets: Sequence[int], answers: Sequence[SentimentAnswer], labels: Sequence[str]) -> dict[str, float]:
    """Accuracy and macro-averaged F1."""
    # Here, not at the top: serving installs no scikit-learn.
    from sklearn.metrics import accuracy_score, f1_score

    predicted = [labels.index(answer.label) for answer in answers]
    return {
        "accuracy": float(accuracy_score(targets, predicted)),
        "f1": float(f1_score(targets, predicted, average="macro")),
    }


SENTIMENT = Task(
    name="sentiment",
    item=SentimentItem,
    answer=SentimentAnswer,
    columns={"text": ("text", "sentence", "review", "content", "body")},
    target_column="label",
    labels=("negative", "positive"),
    head="sequence-classification",
    main_metric="accuracy",
    encode=encode,
    decode=decode,
    read_target=read_target,
    measure=measure,
)
