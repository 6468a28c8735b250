"""Classification of two texts by labels of the user's own: relations, stances, answers to a question and the like."""

from dataclasses import replace

from models.tasks.classification import label_reader, measure_macro, name_one_label
from models.tasks.paraphrase import PARAPHRASE
from models.tasks.robustness import Robustness
from models.tasks.task import NO_OUTPUTS

PAIR_CLASSIFICATION = replace(
    PARAPHRASE,
    name="pair-classification",
    endpoint="pair-classification",
    outputs=NO_OUTPUTS,
    known_as={},
    read_target=label_reader({}),
    name_labels=name_one_label,
    measure=measure_macro,
    contrast_labels=None,
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
