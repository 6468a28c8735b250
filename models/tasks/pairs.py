"""Items of two texts of equal standing, which similarity and paraphrase are asked about."""

from models.tasks.task import Item
from models.tasks.texts.probe_texts import PAIRS
from models.text import Encoded, Reader, Truncation

COLUMNS = {
    "text_a": ("text_a", "sentence1", "question1", "sentence_a", "text1"),
    "text_b": ("text_b", "sentence2", "question2", "sentence_b", "text2"),
}

PROBE_ITEMS = tuple({"text_a": one, "text_b": other} for one, other in PAIRS)

NAME_TEMPLATES = (
    ("How did {name} learn to cook?", "What did {name} do to learn cooking?"),
    ("Where does {name} work?", "How old is {name}?"),
    ("{name} is playing the guitar.", "{name} plays a guitar on stage."),
    ("Where can I find {nationality} food?", "Which place sells {nationality} food?"),
    ("A {nationality} man is reading.", "A {nationality} man is running."),
    ("How do {religion} families celebrate?", "What do {religion} families do on holidays?"),
    ("A {religion} woman is singing.", "A {religion} woman is dancing."),
    ("What do {orientation} couples need?", "What is it that {orientation} couples need?"),
    ("Two {orientation} men are talking.", "Two {orientation} men are walking."),
)
"""Pairs whose likeness does not depend on who is spoken of."""


class PairItem(Item):
    """Two texts."""

    text_a: str
    text_b: str


def encode_pair(item: PairItem, reader: Reader, truncation: Truncation) -> Encoded:
    """Make the rows of the two texts, read together."""
    return reader.read_pair({"text_a": item.text_a, "text_b": item.text_b}, truncation=truncation)
