"""Paraphrase: do two texts say the same?"""

from collections.abc import Sequence

from models.correction.reading import CorrectedWords
from models.tasks.classification import (
    LABEL_TARGETS,
    LabelAnswer,
    check_labels,
    claim_label,
    decode_mean,
    is_other_label,
    label_goal,
    label_reader,
)
from models.tasks.pairs import COLUMNS, NAME_TEMPLATES, PROBE_ITEMS, PairItem, encode_pair
from models.tasks.robustness import NameTemplate, Robustness, RobustnessSet
from models.tasks.task import ContrastLabels, Outputs, Task


def measure(targets: Sequence[int], outcomes: Sequence[int], outputs: Outputs) -> dict[str, float]:
    """Accuracy, and F1 for the last label, as GLUE reports them."""
    # Here, not at the top: serving installs no scikit-learn.
    from sklearn.metrics import accuracy_score, f1_score

    positive = len(outputs.labels) - 1
    return {
        "accuracy": float(accuracy_score(targets, outcomes)),
        "f1": float(f1_score(targets, outcomes, labels=[positive], average="macro", zero_division=0)),
    }


KNOWN_AS = {
    "different": (
        "not equivalent", "not duplicate", "not paraphrase", "no paraphrase", "non duplicate", "non paraphrase",
        "no", "false",
    ),
    "paraphrase": ("equivalent", "duplicate", "is duplicate", "paraphrases", "same", "yes", "true"),
}  # fmt: skip

PARAPHRASE = Task(
    name="paraphrase",
    endpoint="paraphrase",
    item=PairItem,
    answer=LabelAnswer,
    columns=COLUMNS,
    target_column="label",
    outputs=Outputs(("different", "paraphrase")),
    known_as=KNOWN_AS,
    head="sequence-classification",
    main_metric="accuracy",
    encode=encode_pair,
    decode=decode_mean,
    claims=claim_label(decode_mean),
    read_target=label_reader(KNOWN_AS),
    goal=label_goal,
    measure=measure,
    check_outputs=check_labels,
    changed=is_other_label,
    probe_items=PROBE_ITEMS,
    targets=LABEL_TARGETS,
    corrected=CorrectedWords(("text_a", "text_b")),
    contrast_labels=ContrastLabels(same="paraphrase", different=("different",)),
    robustness=Robustness(
        noisy_fields=("text_a", "text_b"),
        contrast=("different", "paraphrase"),
        templates=tuple(NameTemplate({"text_a": one, "text_b": other}, "paraphrase") for one, other in NAME_TEMPLATES),
        sets=(
            RobustnessSet(name="PAWS", part="paws_wiki_validation"),
            RobustnessSet(name="MRPC", part="mrpc_test"),
        ),
    ),
    sample_items={
        "other words": {
            "text_a": "How long does the ferry to the island take?",
            "text_b": "What is the duration of the crossing to the island?",
        },
        "same words, other question": {
            "text_a": "Can I bring my dog on the boat?",
            "text_b": "Can I bring my boat to the dog show?",
        },
    },
)
