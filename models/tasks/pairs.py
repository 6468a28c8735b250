"""Items of two texts of equal standing, which similarity and paraphrase are asked about."""

from models.tasks.probe_texts import PAIRS
from models.tasks.task import Item
from models.text import Encoded, Reader, Truncation

COLUMNS = {
    "text_a": ("text_a", "sentence1", "question1", "sentence_a", "text1"),
    "text_b": ("text_b", "sentence2", "question2", "sentence_b", "text2"),
}

PROBE_ITEMS = tuple({"text_a": one, "text_b": other} for one, other in PAIRS)


class PairItem(Item):
    """Two texts."""

    text_a: str
    text_b: str


def encode_pair(item: PairItem, reader: Reader, truncation: Truncation) -> Encoded:
    """Make the rows of the two texts, read together."""
    return reader.read_pair({"text_a": item.text_a, "text_b": item.text_b}, truncation=truncation)
