"""Masked words of one text: an encoder is pre-trained by guessing them. The task is not served and answers nothing.

Its models are measured at the masked tokens only, which `models.networks.masking` chooses.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.errors import UserError
from models.tasks.robustness import Robustness
from models.tasks.task import (
    Claim,
    Judgement,
    Logits,
    Outputs,
    Prediction,
    Task,
    TaskAnswer,
    TextItem,
    refuse_other_labels,
)
from models.text import Encoded, Reader, Truncation


class TooFewTexts(UserError):
    """There are so few texts that no word of them was masked."""


class NoAnswer(TaskAnswer):
    """Nothing: only what the metric compares is of use."""

    def judgements(self) -> tuple[Judgement, ...]:
        """None."""
        return ()


def encode(item: TextItem, reader: Reader, truncation: Truncation) -> Encoded:
    """Make the rows of one text."""
    return reader.read(item.text, truncation=truncation)


def decode(logits: Sequence[Logits], encoded: Encoded, outputs: Outputs) -> Prediction[NoAnswer]:
    """Pass on, for each masked token, the right word's log-probability and whether it was the most probable one."""
    del encoded, outputs
    return Prediction(NoAnswer(), outcome=np.concatenate(list(logits)), parts=())


def claims(prediction: Prediction[NoAnswer], encoded: Encoded, outputs: Outputs) -> tuple[Claim, ...]:
    """None: nothing is claimed."""
    del prediction, encoded, outputs
    return ()


def read_target(value: Any, encoded: Encoded, outputs: Outputs) -> None:
    """There is nothing to read: the texts themselves hold the right answers."""
    del value, encoded, outputs


def goal(target: None, encoded: Encoded, outputs: Outputs) -> None:
    """None: without an answer there is nothing to attack."""
    del target, encoded, outputs


def measure(targets: Sequence[None], outcomes: Sequence[Logits], outputs: Outputs) -> dict[str, float]:
    """Share of masked tokens whose right word is the most probable one, and perplexity (lower is better).

    Raises:
        TooFewTexts: no token was masked.
    """
    del targets, outputs
    judged = np.concatenate(list(outcomes)).astype(np.float64)
    if not len(judged):
        raise TooFewTexts("no word was masked in the texts to measure on; give more texts")
    log_probabilities, hits = judged.T
    return {"accuracy": float(hits.mean()), "perplexity": float(np.exp(-log_probabilities.mean()))}


def never(before: NoAnswer, after: NoAnswer) -> bool:
    """False: there is no answer that could change."""
    del before, after
    return False


_OUTPUTS = Outputs(("word",))

MASKED_WORDS = Task(
    name="masked-words",
    endpoint="",
    item=TextItem,
    answer=NoAnswer,
    columns={"text": ("text", "sentence", "review", "content", "body")},
    target_column=None,
    outputs=_OUTPUTS,
    head="masked-language-model",
    main_metric="accuracy",
    encode=encode,
    decode=decode,
    claims=claims,
    read_target=read_target,
    goal=goal,
    measure=measure,
    check_outputs=refuse_other_labels(_OUTPUTS.labels),
    changed=never,
    probe_items=(),
    robustness=Robustness(),
)
