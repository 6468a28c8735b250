"""Natural language inference: does the hypothesis follow from the premise, contradict it, or neither?"""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from models.tasks.classification import LabelAnswer, check_labels, measure_macro, predict_label, read_label
from models.tasks.task import Item, Logits, Outputs, Prediction, Task, softmax
from models.text import Encoded, Reader, Truncation

NO_EVIDENCE = ("neutral", "not_entailment", "non-entailment")
"""Labels by which data sets say that a premise settles nothing."""


class NliItem(Item):
    """A premise, and a hypothesis about it."""

    premise: str
    hypothesis: str


def encode(item: NliItem, reader: Reader, truncation: Truncation) -> Encoded:
    """Rows of the pair, the premise first."""
    return reader.read_pair({"premise": item.premise, "hypothesis": item.hypothesis}, truncation=truncation)


def decode(logits: Sequence[Logits], encoded: Encoded, outputs: Outputs) -> Prediction[LabelAnswer]:
    """The window of the premise that settles most decides on each window of the hypothesis; these are averaged.

    A long premise speaks of the hypothesis in few places. Taking the best of them for each part of the hypothesis, and
    the mean over the parts, is what Laban et al. (TACL 2022, section 3.2) found best for documents.
    """
    probabilities = softmax(np.stack(logits))
    silent = [place for place, label in enumerate(outputs.labels) if label in NO_EVIDENCE]
    # Where no label says so, a window settles as much as it is sure.
    silence = probabilities[:, silent].sum(axis=1) if silent else 1 - probabilities.max(axis=1)
    groups = groupby(range(len(encoded.rows)), key=lambda row: encoded.rows[row].group)
    deciding = [min(rows, key=lambda row: float(silence[row])) for _, rows in groups]
    weights = np.array([len(encoded.rows[row]) for row in deciding], dtype=np.float64)
    return predict_label(weights @ probabilities[deciding] / weights.sum(), outputs, deciding)


NLI = Task(
    name="nli",
    endpoint="nli",
    item=NliItem,
    answer=LabelAnswer,
    columns={
        "premise": ("premise", "text_a", "sentence1", "sentence_a", "context"),
        "hypothesis": ("hypothesis", "text_b", "sentence2", "sentence_b", "claim"),
    },
    target_column="label",
    # The order of GLUE's MNLI; a package's own manifest says which order is its own.
    outputs=Outputs(("entailment", "neutral", "contradiction")),
    head="sequence-classification",
    main_metric="accuracy",
    encode=encode,
    decode=decode,
    read_target=read_label,
    measure=measure_macro,
    check_outputs=check_labels,
)
