"""Two texts of equal standing: what similarity and paraphrase are asked about."""

from models.tasks.task import Item
from models.text import Encoded, Reader, Truncation

COLUMNS = {
    "text_a": ("text_a", "sentence1", "question1", "sentence_a", "text1"),
    "text_b": ("text_b", "sentence2", "question2", "sentence_b", "text2"),
}


class PairItem(Item):
    """Two texts."""

    text_a: str
    text_b: str


def encode_pair(item: PairItem, reader: Reader, truncation: Truncation) -> Encoded:
    """Rows of the two texts read together."""
    return reader.read_pair({"text_a": item.text_a, "text_b": item.text_b}, truncation=truncation)
