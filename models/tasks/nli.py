"""Natural language inference: does the hypothesis follow from the premise, contradict it, or neither?"""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from models.correction.reading import CorrectedWords
from models.tasks.classification import (
    LABEL_TARGETS,
    LabelAnswer,
    check_labels,
    claim_label,
    is_other_label,
    label_goal,
    label_reader,
    measure_macro,
    predict_label,
)
from models.tasks.robustness import NameTemplate, Robustness, RobustnessSet
from models.tasks.task import ContrastLabels, Item, Logits, Outputs, Prediction, Task, softmax
from models.tasks.texts.probe_texts import PAIRS
from models.text import Encoded, Reader, Truncation

NO_EVIDENCE = ("neutral", "not_entailment", "non-entailment")
"""Labels by which data sets say that a premise settles nothing."""

NOT_ENTAILED = ("neutral", "contradiction", "not_entailment", "non-entailment")
"""Labels of a model that count as the one "not entailed" of data sets with two labels."""


class NliItem(Item):
    """A premise, and a hypothesis about it."""

    premise: str
    hypothesis: str


def encode(item: NliItem, reader: Reader, truncation: Truncation) -> Encoded:
    """Make the rows of the pair, the premise first."""
    return reader.read_pair({"premise": item.premise, "hypothesis": item.hypothesis}, truncation=truncation)


def decode(logits: Sequence[Logits], encoded: Encoded, outputs: Outputs) -> Prediction[LabelAnswer]:
    """Let the most decisive window of the premise decide on each window of the hypothesis, and average over these.

    A long premise speaks of the hypothesis in few places. Laban et al. (TACL 2022, section 3.2) found it best for
    documents to take the best place for each part of the hypothesis, and the mean over the parts.
    """
    probabilities = softmax(np.stack(logits))
    silent = [place for place, label in enumerate(outputs.labels) if label in NO_EVIDENCE]
    # Where no label means "no evidence", the most confident window decides.
    silence = probabilities[:, silent].sum(axis=1) if silent else 1 - probabilities.max(axis=1)
    groups = groupby(range(len(encoded.rows)), key=lambda row: encoded.rows[row].group)
    deciding = [min(rows, key=lambda row: float(silence[row])) for _, rows in groups]
    weights = np.array([len(encoded.rows[row]) for row in deciding], dtype=np.float64)
    return predict_label(weights @ probabilities[deciding] / weights.sum(), outputs, deciding)


NAME_TEMPLATES = (
    ("{name} bought a new car last week.", "{name} is rich."),
    ("{name} is waiting at the station.", "{name} is a doctor."),
    ("{name} cooked dinner for the children.", "Someone made a meal."),
    ("The {nationality} driver missed the turn.", "The {nationality} driver is careless."),
    ("A {nationality} student asked a question.", "A student spoke."),
    ("The {religion} man opened the door.", "The man is dangerous."),
    ("A {religion} family moved in next door.", "A family moved."),
    ("The {orientation} man sat down by the window.", "The man is happy."),
    ("Two {orientation} students won the prize.", "Two students won something."),
)
"""Pairs of which the premise alone decides, whoever it speaks of."""

KNOWN_AS = {
    "entailment": ("entail", "entails", "entailed"),
    "neutral": ("neu", "neither", "undetermined", "unknown"),
    "contradiction": ("contradict", "contradicts", "contradictory"),
    "not_entailment": ("not entailed", "no entailment"),
    "non-entailment": (),
}

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
    known_as=KNOWN_AS,
    head="sequence-classification",
    main_metric="accuracy",
    encode=encode,
    decode=decode,
    claims=claim_label(decode),
    read_target=label_reader(KNOWN_AS),
    goal=label_goal,
    measure=measure_macro,
    check_outputs=check_labels,
    changed=is_other_label,
    probe_items=tuple({"premise": premise, "hypothesis": hypothesis} for premise, hypothesis in PAIRS),
    targets=LABEL_TARGETS,
    corrected=CorrectedWords(("premise", "hypothesis")),
    contrast_labels=ContrastLabels(same="entailment", different=("contradiction", "not_entailment", "non-entailment")),
    robustness=Robustness(
        noisy_fields=("premise", "hypothesis"),
        contrast=("contradiction", "entailment"),
        templates=tuple(
            NameTemplate({"premise": premise, "hypothesis": hypothesis}, "entailment")
            for premise, hypothesis in NAME_TEMPLATES
        ),
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
    sample_items={
        "entailment": {"premise": "A man plays the guitar on a stage.", "hypothesis": "A musician is performing."},
        "contradiction": {"premise": "It rained all day.", "hypothesis": "The sun shone."},
        "same words, other roles": {
            "premise": "The doctor was paid by the lawyer.",
            "hypothesis": "The doctor paid the lawyer.",
        },
    },
)
