"""The bounds of an attack: how much of a text it may change, which words, and how often it may ask."""

import re
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from models.edits.synonyms import count_words

SearchName = Literal["greedy", "beam", "exhaustive"]
Barred = Literal["stop-words", "names", "numbers"]
"""Words that an attack leaves alone unless it is allowed to change them."""

BARRED: tuple[Barred, ...] = get_args(Barred)

EXCHANGED_NAMES = "names"
"""The family whose edits leave the kind of a name as it was, so that even the names that are asked for may change."""

_BUDGET = re.compile(r"(?P<number>[1-9]\d*)(?P<share>%?)")


def _read_budget(value: object) -> object:
    found = _BUDGET.fullmatch(str(value))
    if not found or (found["share"] and int(found["number"]) > 100):
        raise ValueError(f"{value!r} is no number of words, such as 2, and no share of them, such as 15%")
    return str(value)


WordBudget = Annotated[str, BeforeValidator(_read_budget)]
"""Most words that may change: a number, such as `2`, or a share of the words, such as `15%`."""


class AttackSettings(BaseModel):
    """One attack, by all that its outcome depends on beside the model and the record."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    family: str
    """The name of the family of edits that it tries."""
    words: WordBudget = Field(
        default="15%", description="Most words that may change: a number, such as 2, or a share, such as 15%."
    )
    search: SearchName = Field(
        default="greedy",
        description="greedy: go through the words that matter most, and take the worst edit of each. beam: the same, "
        "but go on with several changed texts. exhaustive: try every edit of one word.",
    )
    beam: int = Field(default=4, ge=1, description="Changed texts that a beam search goes on with after each word.")
    candidates: int | None = Field(
        default=None, ge=1, description="Edits of a word to draw and try. Without it: all of them."
    )
    queries: int = Field(default=500, ge=2, description="Most texts to ask the model about for one record.")
    allowed: tuple[Barred, ...] = Field(
        default=(),
        description=f"Change words of this kind, too: {', '.join(BARRED)}. They are left alone otherwise. "
        "May be repeated.",
    )
    fields: tuple[str, ...] = Field(
        default=(),
        description="Change this field. May be repeated. Without it: the second of two texts, or the only one.",
    )
    min_similarity: float | None = Field(
        default=None, ge=0, le=1, description="Least similarity, from 0 to 1, of a changed text and the text as it was."
    )
    seed: int = Field(default=0, description="Changes which edits are drawn.")

    @property
    def name(self) -> str:
        """The attack and its budget, such as `typos-2` or `synonyms-15%`."""
        return f"{self.family}-{self.words}"

    @property
    def barred(self) -> tuple[Barred, ...]:
        """The kinds of words that stay as they are; an exchange of names changes names."""
        changed = (*self.allowed, *(("names",) if self.family == EXCHANGED_NAMES else ()))
        return tuple(kind for kind in BARRED if kind not in changed)


def budget(words: WordBudget, text: str) -> int:
    """The number of words of `text` that may change; at least one."""
    if not words.endswith("%"):
        return int(words)
    return max(1, round(int(words[:-1]) / 100 * count_words(text)))
