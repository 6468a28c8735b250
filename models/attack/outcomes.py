"""The outcome of the attack on one record, as it is kept on disk."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from models.attack.words import Edit, Edits, Place
from models.words import Span

Status = Literal["unread", "wrong", "held", "fooled"]
"""The model could not read the item; it was wrong before the attack; it held; or it was fooled."""


class WordEdit(BaseModel):
    """A word that was changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str
    start: int
    """In code points of the text as it was."""
    end: int
    text: str
    to: str


class Outcome(BaseModel):
    """The attack on one record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: int
    """Its number in the file, counted from 1."""
    status: Status
    queries: int
    """Texts that the model was asked about, the item as it was included."""
    words: int = 0
    """Words of the fields that may change."""
    exhausted: bool = False
    """Whether edits were left untried because the queries were used up."""
    edits: tuple[WordEdit, ...] = ()
    """The edits that fooled the model; empty where it was not fooled."""
    before: dict[str, Any] | None = None
    """The answer to the item as it was."""
    after: dict[str, Any] | None = None
    """The answer to the changed item, where it fooled the model."""
    similarity: float | None = None
    """The similarity of the changed text and the text as it was, where that was measured."""

    @property
    def made(self) -> Edits:
        """The edits as the search has them."""
        return tuple(Edit(Place(edit.field, Span(edit.start, edit.end)), edit.to) for edit in self.edits)
