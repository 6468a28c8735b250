"""Classification of one text by labels of the user's own: topics, intents, languages and the like."""

from dataclasses import replace

from models.tasks.classification import label_reader
from models.tasks.robustness import Robustness
from models.tasks.sentiment import SENTIMENT
from models.tasks.task import NO_OUTPUTS

TEXT_CLASSIFICATION = replace(
    SENTIMENT,
    name="text-classification",
    endpoint="text-classification",
    outputs=NO_OUTPUTS,
    known_as={},
    read_target=label_reader({}),
    robustness=Robustness(noisy_fields=("text",)),
    sample_items={
        "a question to a shop": {"text": "Where is my parcel? It should have been here on Monday."},
        "news": {"text": "The central bank left interest rates unchanged for the third time in a row."},
        "typing errors": {"text": "pleese cancell my subscribtion, i dont need it anymore"},
    },
)
