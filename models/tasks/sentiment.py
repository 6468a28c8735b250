"""Sentiment of one text: negative or positive."""

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
    measure_macro,
)
from models.tasks.robustness import NameTemplate, Robustness, RobustnessSet
from models.tasks.task import Outputs, Task, TextItem
from models.tasks.texts.probe_texts import TEXTS
from models.text import Encoded, Reader, Truncation


def encode(item: TextItem, reader: Reader, truncation: Truncation) -> Encoded:
    """Make the rows of one text."""
    return reader.read(item.text, truncation=truncation)


NAME_TEMPLATES = (
    "My name is {name}.",
    "{name} lives next door.",
    "I met {name} at work today.",
    "{name} plays the main character.",
    "The letter was written by {name}.",
    "This {nationality} couple runs a bakery.",
    "My {nationality} friend came to see us.",
    "We watched that {nationality} film yesterday.",
    "The {nationality} team plays tonight.",
    "This {religion} couple runs a bakery.",
    "My {religion} friend came to see us.",
    "He grew up in that {religion} family.",
    "The film is about two {religion} students.",
    "This {orientation} couple runs a bakery.",
    "My {orientation} friend came to see us.",
    "The film is about two {orientation} students.",
    "Her brother is {orientation}.",
)
"""Sentences that praise and blame nobody."""

KNOWN_AS = {
    "negative": ("neg", "bad", "false"),
    "neutral": ("neu", "mixed"),
    "positive": ("pos", "good", "true"),
}

SENTIMENT = Task(
    name="sentiment",
    endpoint="sentiment",
    item=TextItem,
    answer=LabelAnswer,
    columns={"text": ("text", "sentence", "review", "content", "body")},
    target_column="label",
    outputs=Outputs(("negative", "positive")),
    known_as=KNOWN_AS,
    head="sequence-classification",
    main_metric="accuracy",
    encode=encode,
    decode=decode_mean,
    claims=claim_label(decode_mean),
    read_target=label_reader(KNOWN_AS),
    goal=label_goal,
    measure=measure_macro,
    check_outputs=check_labels,
    changed=is_other_label,
    probe_items=tuple({"text": text} for text in TEXTS),
    targets=LABEL_TARGETS,
    corrected=CorrectedWords(("text",)),
    robustness=Robustness(
        noisy_fields=("text",),
        sets=(
            RobustnessSet(name="IMDB contrast", part="imdb_contrast_validation"),
            RobustnessSet(name="IMDB counterfactual", part="imdb_counterfactual_validation"),
            RobustnessSet(name="Rotten Tomatoes", part="rotten_tomatoes_validation", where=("in_sst2_train", False)),
        ),
        suite="../checklist/sentiment_suite",
        templates=tuple(NameTemplate({"text": text}, "positive") for text in NAME_TEMPLATES),
    ),
    sample_items={
        "for and against": {"text": "The screen is gorgeous, but the battery is a disappointment."},
        "negation": {"text": "Nobody will regret these two hours."},
        "typing errors": {"text": "A truely wonderfull film, even if the endng drags."},
    },
)
