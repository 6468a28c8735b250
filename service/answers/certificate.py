"""Certificates as callers ask for them and get them: whether any edit of a declared family changes an answer."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.errors import UserError

CertifiedFamily = Literal["typos", "synonyms"]
"""Families of `models.edits` that a request may name. Their replacements mean the same to a reader."""


class CertificateTooLong(UserError):
    """An input has more edits than may be tried, or than can be in the time that there is."""


class Counterexample(BaseModel):
    """An edit that changes the answer."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="The field of the input that is edited.")
    text: str = Field(description="The word that stands there.")
    start: int = Field(description="In that field, in the request's `offset_unit`.")
    end: int
    replacement: str
    answer: str = Field(description="The answer to the edited input, in short.")


class Certificate(BaseModel):
    """The outcome of trying every edit of one word, one at a time, on the model that answered."""

    model_config = ConfigDict(frozen=True)

    family: CertifiedFamily
    edits: int = Field(description="Edits of the family, in all fields that may be edited.")
    tried: int = Field(description="Edits that the model answered; the others make a text that it cannot read.")
    holds: bool = Field(
        description="Whether every edit was tried and none changes the answer; true without edits, too."
    )
    counterexample: Counterexample | None = Field(
        description="The first edit that changes the answer, in the order of the text; null where none does."
    )
