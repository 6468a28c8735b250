"""Semantic textual similarity: how alike two texts are in meaning, as a number in the package's range."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from models.correction.reading import CorrectedWords
from models.tasks.classification import LABEL_TARGETS
from models.tasks.goals import Goal, Move, Standing
from models.tasks.pairs import COLUMNS, NAME_TEMPLATES, PROBE_ITEMS, PairItem, encode_pair
from models.tasks.robustness import NameTemplate, Robustness, RobustnessSet
from models.tasks.task import (
    AnswerPart,
    Claim,
    Judgement,
    Logits,
    Outputs,
    Prediction,
    Task,
    TaskAnswer,
    contrast,
    refuse_other_labels,
)
from models.text import Encoded

LABELS = ("similarity",)

CHANGE = 0.2
"""The share of the range by which a score moves at least where an edited text is said to have another answer."""


class StsAnswer(TaskAnswer):
    """How alike two texts are."""

    score: float = Field(description="In the range that the model's manifest declares.")
    normalized: float = Field(ge=0, le=1, description="The same, with the range's ends at 0 and 1.")

    def judgements(self) -> tuple[Judgement, ...]:
        """None: a similarity decides nothing."""
        return ()


def decode(logits: Sequence[Logits], encoded: Encoded, outputs: Outputs) -> Prediction[StsAnswer]:
    """Average the windows' numbers with their lengths as weights, and keep the result within the range."""
    low, high = _range(outputs)
    weights = np.array([len(row) for row in encoded.rows], dtype=np.float64)
    given = float(weights @ np.concatenate(logits).astype(np.float64) / weights.sum())
    score = min(max(given, low), high)
    # The metric sees the number before it is cut off: ties at the ends would cost rank correlation.
    return Prediction(
        StsAnswer(score=score, normalized=(score - low) / (high - low)),
        outcome=given,
        parts=(AnswerPart(outputs.labels[0], rows=tuple(range(len(logits))), target=contrast(0, 1)),),
    )


def claims(prediction: Prediction[StsAnswer], encoded: Encoded, outputs: Outputs) -> tuple[Claim]:
    """Claim that the texts are alike where the score is in the upper half of its range, and unlike where it is not.

    The support is the normalised score, or 1 less it.
    """
    del encoded
    is_negative = prediction.answer.normalized < 0.5

    def support(logits: Sequence[Logits], encoded: Encoded) -> float:
        normalized = decode(logits, encoded, outputs).answer.normalized
        return 1 - normalized if is_negative else normalized

    return (Claim(support, is_negative=is_negative),)


def is_far(before: StsAnswer, after: StsAnswer) -> bool:
    """Whether two scores differ by more than a fifth of the range, which is 1 in the range from 0 to 5."""
    return abs(before.normalized - after.normalized) > CHANGE


def read_target(value: Any, encoded: Encoded, outputs: Outputs) -> float:
    """Read a number in the range; raises ValueError."""
    del encoded
    low, high = _range(outputs)
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high:
        raise ValueError(f"score {value!r} is no number from {low:g} to {high:g}")
    return number


def goal(target: float, encoded: Encoded, outputs: Outputs) -> Goal:
    """A score that is not far from the right one, and then not far from what it was; see `is_far`.

    The support falls as the score moves away.
    """
    del encoded
    low, high = _range(outputs)
    right = (target - low) / (high - low)

    def judge(first: StsAnswer, answer: StsAnswer, move: Move) -> Standing:
        del move
        is_right = abs(first.normalized - right) <= CHANGE and not is_far(first, answer)
        return Standing(is_right, 1 - abs(answer.normalized - first.normalized))

    return Goal(judge)


def measure(targets: Sequence[float], outcomes: Sequence[float], outputs: Outputs) -> dict[str, float]:
    """Spearman's and Pearson's correlation; both are undefined where one side never varies, and then given as 0."""
    # Here, not at the top: serving installs no scipy.
    from scipy.stats import pearsonr, spearmanr

    del outputs
    if len(set(targets)) < 2 or len(set(outcomes)) < 2:
        return {"spearman": 0.0, "pearson": 0.0}
    return {
        "spearman": float(spearmanr(targets, outcomes).statistic),
        "pearson": float(pearsonr(targets, outcomes).statistic),
    }


def _range(outputs: Outputs) -> tuple[float, float]:
    assert outputs.score_range is not None, "a model that gives a number declares its range"
    return outputs.score_range


STS = Task(
    name="sts",
    endpoint="sts",
    item=PairItem,
    answer=StsAnswer,
    columns=COLUMNS,
    target_column="score",
    outputs=Outputs(LABELS, score_range=(0.0, 5.0)),
    head="sequence-classification",
    main_metric="spearman",
    encode=encode_pair,
    decode=decode,
    claims=claims,
    read_target=read_target,
    goal=goal,
    measure=measure,
    check_outputs=refuse_other_labels(LABELS),
    changed=is_far,
    probe_items=PROBE_ITEMS,
    targets=LABEL_TARGETS,
    corrected=CorrectedWords(("text_a", "text_b")),
    robustness=Robustness(
        noisy_fields=("text_a", "text_b"),
        sets=(RobustnessSet(name="SICK relatedness", part="../nli/sick_test"),),
        templates=tuple(NameTemplate({"text_a": one, "text_b": other}) for one, other in NAME_TEMPLATES),
    ),
    sample_items={
        "nearly the same": {"text_a": "A plane is taking off.", "text_b": "An aeroplane leaves the ground."},
        "some of it": {"text_a": "Two children play football.", "text_b": "A child is kicking a ball against a wall."},
        "nothing in common": {"text_a": "The cat sleeps on the sofa.", "text_b": "Shares fell sharply on Monday."},
    },
)
