"""Reading comprehension by multiple choice: which of 2 to 20 answers to a question does the context support?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field

from models.correction.reading import CorrectedWords
from models.tasks.goals import Goal, Move, Standing
from models.tasks.robustness import Robustness, RobustnessSet
from models.tasks.task import (
    AnswerPart,
    Claim,
    Item,
    Judgement,
    LabelScore,
    Logits,
    Outputs,
    Prediction,
    Targets,
    Task,
    TaskAnswer,
    aim_each,
    contrast,
    read_place,
    refuse_other_labels,
    softmax,
)
from models.tasks.texts.probe_texts import QUESTIONS
from models.text import BadInput, Encoded, Reader, Truncation
from models.words import Span

COLUMNS = {
    "context": ("context", "passage", "article", "document"),
    "question": ("question", "query"),
    "choices": ("choices", "options", "answers"),
}

LABELS = ("choice",)


class ReadingItem(Item):
    """A context, a question about it, and answers to choose from; a model that finds them itself takes none."""

    context: str
    question: str
    choices: tuple[str, ...] | None = Field(default=None, min_length=2, max_length=20, fail_fast=True)


class ChoiceScore(LabelScore):
    """A choice and its probability."""

    choice: int = Field(description="Its place in `choices`, from 0.")


class ReadingAnswer(TaskAnswer):
    """The most probable of the choices."""

    answer: str = Field(description="Its text.")
    choice: int = Field(description="Its place in `choices`, from 0.")
    score: float = Field(ge=0, le=1, description="Its probability.")
    scores: tuple[ChoiceScore, ...] = Field(description="Every choice, most probable first.")

    def judgements(self) -> tuple[Judgement, ...]:
        """The answer; its text is no label."""
        return (Judgement(None, self.score),)


def encode(item: ReadingItem, reader: Reader, truncation: Truncation) -> Encoded:
    """Make rows of the context, each beside the question with one of the choices. The row's group is its choice."""
    if item.choices is None:
        raise BadInput("validation", "choices", "missing: this model chooses an answer, from 2 to 20 choices")
    questions = [{"question": item.question, f"choices/{number}": choice} for number, choice in enumerate(item.choices)]
    return reader.read_against("context", item.context, questions, truncation=truncation)


def decode(logits: Sequence[Logits], encoded: Encoded, outputs: Outputs) -> Prediction[ReadingAnswer]:
    """Take a softmax over the choices; the logit of a choice is the highest among the context's windows."""
    del outputs
    choices = 1 + max(row.group for row in encoded.rows)
    deciding = [_deciding_row(choice, logits, encoded) for choice in range(choices)]
    probabilities = softmax(np.array([logits[row][0] for row in deciding]))
    texts = [encoded.texts[f"choices/{choice}"] for choice in range(len(deciding))]
    order = np.argsort(-probabilities, kind="stable")
    scores = tuple(
        ChoiceScore(choice=int(choice), label=texts[choice], score=float(probabilities[choice])) for choice in order
    )
    best = scores[0]
    return Prediction(
        ReadingAnswer(answer=best.label, choice=best.choice, score=best.score, scores=scores),
        outcome=best.choice,
        parts=(AnswerPart(best.label, rows=(deciding[best.choice],), target=contrast(0, 1)),),
    )


def claims(prediction: Prediction[ReadingAnswer], encoded: Encoded, outputs: Outputs) -> tuple[Claim]:
    """Claim the answered choice, supported by its probability. The texts of the choices are never taken out."""
    choice = prediction.answer.choice

    def support(logits: Sequence[Logits], encoded: Encoded) -> float:
        scores = decode(logits, encoded, outputs).answer.scores
        return next(one.score for one in scores if one.choice == choice)

    choices = {field: text for field, text in encoded.texts.items() if field not in ("context", "question")}
    return (Claim(support, tuple((field, Span(0, len(text))) for field, text in choices.items())),)


def is_other_choice(before: ReadingAnswer, after: ReadingAnswer) -> bool:
    """Whether two answers are different choices; their texts may differ, because choices may be edited too."""
    return before.choice != after.choice


def _deciding_row(choice: int, logits: Sequence[Logits], encoded: Encoded) -> int:
    """The number of the row in which a choice scores highest."""
    rows = (number for number, row in enumerate(encoded.rows) if row.group == choice)
    return max(rows, key=lambda row: float(logits[row][0]))


def aim_at_choice(
    choice: int, part: AnswerPart, logits: Sequence[Logits], encoded: Encoded, outputs: Outputs
) -> AnswerPart:
    """The part that explains the score of a choice."""
    del outputs
    return replace(part, name=encoded.texts[f"choices/{choice}"], rows=(_deciding_row(choice, logits, encoded),))


def _choices(encoded: Encoded, outputs: Outputs) -> list[str]:
    del outputs
    return [text for field, text in encoded.texts.items() if field.startswith("choices/")]


def read_target(value: Any, encoded: Encoded, outputs: Outputs) -> int:
    """Read the place of the right choice, counted from 0; raises ValueError."""
    del outputs
    choices = 1 + max(row.group for row in encoded.rows)
    number = read_place(value, choices)
    if number is not None:
        return number
    raise ValueError(f"label {value!r} is no place among {choices} choices, which are counted from 0")


def goal(target: int, encoded: Encoded, outputs: Outputs) -> Goal:
    """The right choice and its probability."""
    del encoded, outputs

    def judge(first: ReadingAnswer, answer: ReadingAnswer, move: Move) -> Standing:
        del first, move
        return Standing(answer.choice == target, next(one.score for one in answer.scores if one.choice == target))

    return Goal(judge)


def measure(targets: Sequence[int], outcomes: Sequence[int], outputs: Outputs) -> dict[str, float]:
    """Accuracy."""
    del outputs
    right = sum(target == outcome for target, outcome in zip(targets, outcomes, strict=True))
    return {"accuracy": right / max(len(targets), 1)}


READING_COMPREHENSION = Task(
    name="reading-comprehension",
    endpoint="reading-comprehension",
    item=ReadingItem,
    answer=ReadingAnswer,
    columns=COLUMNS,
    target_column="label",
    outputs=Outputs(LABELS),
    head="multiple-choice",
    main_metric="accuracy",
    encode=encode,
    decode=decode,
    claims=claims,
    read_target=read_target,
    goal=goal,
    measure=measure,
    check_outputs=refuse_other_labels(LABELS),
    changed=is_other_choice,
    probe_items=tuple(
        {"context": context, "question": question, "choices": list(choices)} for context, question, choices in QUESTIONS
    ),
    targets=Targets(names=_choices, aim=aim_each(aim_at_choice), are_texts=True),
    corrected=CorrectedWords(("question", "choices")),
    robustness=Robustness(
        noisy_fields=("context", "question"), sets=(RobustnessSet(name="BoolQ contrast", part="boolq_contrast"),)
    ),
    sample_items={
        "a dialogue": {
            "context": "W: Is this seat taken?\nM: My wife is just getting us some tea.\nW: Then I'll stand.",
            "question": "Where are they most probably?",
            "choices": ["In a café.", "At a bank.", "In a swimming pool."],
        },
        "a report": {
            "context": "The skipper knew every rock by its name. The lunch, on the other hand, was cold, and somebody "
            "had forgotten the bread.",
            "question": "What was wrong with the lunch?",
            "choices": ["It was late.", "It was cold.", "There was too much of it."],
        },
    },
)
