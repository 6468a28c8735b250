"""Masked words of one text: what an encoder is pre-trained on. Nothing is answered with it and nothing served.

Its models are measured at the masked tokens alone, which the runner of this head chooses; see `networks.masking`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.errors import UserError
from models.tasks.task import Item, Judgement, Logits, Outputs, Prediction, Task, TaskAnswer, refuse_other_labels
from models.text import Encoded, Reader, Truncation


class TooFewTexts(UserError):
    """Texts that nothing can be measured on."""


class Text(Item):
    """One text, of any length."""

    text: str


class NoAnswer(TaskAnswer):
    """Nothing: only what the metric compares is of use."""

    def judgements(self) -> tuple[Judgement, ...]:
        """None."""
        return ()


def encode(item: Text, reader: Reader, truncation: Truncation) -> Encoded:
    """Rows of one text."""
    return reader.read(item.text, truncation=truncation)


def decode(logits: Sequence[Logits], encoded: Encoded, outputs: Outputs) -> Prediction[NoAnswer]:
    """What the metric needs of each masked token: the right word's log-probability, and whether it came first."""
    del encoded, outputs
    return Prediction(NoAnswer(), outcome=np.concatenate(list(logits)), parts=())


def read_target(value: Any, encoded: Encoded, outputs: Outputs) -> None:
    """Texts hold their right answers themselves."""
    del value, encoded, outputs


def measure(targets: Sequence[None], outcomes: Sequence[Logits], outputs: Outputs) -> dict[str, float]:
    """Share of the masked tokens whose word is the most probable one; and perplexity, of which less is better.

    Raises:
        TooFewTexts: no token was masked.
    """
    del targets, outputs
    judged = np.concatenate(list(outcomes)).astype(np.float64)
    if not len(judged):
        raise TooFewTexts("of the texts to measure on no word was masked: there are too few of them")
    log_probabilities, hits = judged.T
    return {"accuracy": float(hits.mean()), "perplexity": float(np.exp(-log_probabilities.mean()))}


_OUTPUTS = Outputs(("word",))

MASKED_WORDS = Task(
    name="masked-words",
    endpoint="",
    item=Text,
    answer=NoAnswer,
    columns={"text": ("text", "sentence", "review", "content", "body")},
    target_column=None,
    outputs=_OUTPUTS,
    head="masked-language-model",
    main_metric="accuracy",
    encode=encode,
    decode=decode,
    read_target=read_target,
    measure=measure,
    check_outputs=refuse_other_labels(_OUTPUTS.labels),
)
