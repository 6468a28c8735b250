"""Classification of two texts by labels of the user's own: relations, stances, answers to a question and the like."""

from models.tasks.classification import (
    LABEL_TARGETS,
    LabelAnswer,
    check_labels,
    claim_label,
    decode_mean,
    is_other_label,
    label_goal,
    label_reader,
    measure_macro,
)
from models.tasks.pairs import COLUMNS, PROBE_ITEMS, PairItem, encode_pair
from models.tasks.robustness import Robustness
from models.tasks.task import NO_OUTPUTS, Task

PAIR_CLASSIFICATION = Task(
    name="pair-classification",
    endpoint="pair-classification",
    item=PairItem,
    answer=LabelAnswer,
    columns=COLUMNS,
    target_column="label",
    outputs=NO_OUTPUTS,
    head="sequence-classification",
    main_metric="accuracy",
    encode=encode_pair,
    decode=decode_mean,
    claims=claim_label(decode_mean),
    read_target=label_reader({}),
    goal=label_goal,
    measure=measure_macro,
    check_outputs=check_labels,
    changed=is_other_label,
    probe_items=PROBE_ITEMS,
    targets=LABEL_TARGETS,
    corrected_fields=("text_a", "text_b"),
    robustness=Robustness(noisy_fields=("text_a", "text_b")),
    sample_items={
        "a question and an answer": {
            "text_a": "How long does the ferry to the island take?",
            "text_b": "About forty minutes if the sea is calm.",
        },
        "a claim and a comment": {
            "text_a": "The new bridge should be free of tolls.",
            "text_b": "And who would pay for its repairs?",
        },
    },
)
