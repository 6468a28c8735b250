"""Classification of one text by labels of the user's own: topics, intents, languages and the like."""

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
from models.tasks.robustness import Robustness
from models.tasks.sentiment import SENTIMENT, encode
from models.tasks.task import NO_OUTPUTS, Task, TextItem

TEXT_CLASSIFICATION = Task(
    name="text-classification",
    endpoint="text-classification",
    item=TextItem,
    answer=LabelAnswer,
    columns=SENTIMENT.columns,
    target_column="label",
    outputs=NO_OUTPUTS,
    head="sequence-classification",
    main_metric="accuracy",
    encode=encode,
    decode=decode_mean,
    claims=claim_label(decode_mean),
    read_target=label_reader({}),
    goal=label_goal,
    measure=measure_macro,
    check_outputs=check_labels,
    changed=is_other_label,
    probe_items=SENTIMENT.probe_items,
    targets=LABEL_TARGETS,
    corrected_fields=("text",),
    robustness=Robustness(noisy_fields=("text",)),
    sample_items={
        "a question to a shop": {"text": "Where is my parcel? It should have been here on Monday."},
        "news": {"text": "The central bank left interest rates unchanged for the third time in a row."},
        "typing errors": {"text": "pleese cancell my subscribtion, i dont need it anymore"},
    },
)
