"""Explanations as callers ask for them and get them: the words that an answer rests on, each with its score."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from export.package import ExplanationOutput, Faithfulness
from models.errors import UserError

ExplanationMethod = Literal[ExplanationOutput, "occlusion"]
"""The name of a way to compute scores; `service.answers.explainers` has the way. A score that the graph gives is called
as its output."""

MEANINGS: Mapping[ExplanationMethod, str] = {
    "attention": "how much attention the model pays to it in its last layer",
    "rollout": "how much of the answer comes from it when attention is followed through all layers",
    "decomposition": "what it adds to the logits that speak for {answer}, or takes from them",
    "occlusion": "how far the logits that speak for {answer} fall when it is left out",
}
"""The meaning of a word's score, for people to read; `{answer}` stands for the answer that is explained."""

ExplanationUnit = Literal["word", "token"]


class ExplanationTooLong(UserError):
    """An answer has too much to explain."""


MOST_FAITHFUL = "best"
"""Short for the method that was measured most faithful, as commands and Python call it."""

_METHODS = (*get_args(ExplanationMethod), MOST_FAITHFUL)
_ANY_METHOD = f"must be one of {', '.join(map(repr, _METHODS))}"


def _or_short(schema: dict[str, Any]) -> None:
    """Allow the short forms in the schema too."""
    described = schema.copy()
    schema.clear()
    schema["anyOf"] = [{"enum": [*_METHODS], "type": "string"}, {"const": True}, described]


def _or_most_faithful(schema: dict[str, Any]) -> None:
    """Allow `"best"` among the names of methods in the schema too."""
    for choice in schema["anyOf"]:
        if "enum" in choice:
            choice["enum"] = [*_METHODS]


class ExplainOptions(BaseModel):
    """How answers are explained.

    A bare string is short for `{"method": ...}`; `true` and `"best"` are for `{}`, the method that was measured most
    faithful to the model.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, json_schema_extra=_or_short
    )

    method: ExplanationMethod | None = Field(
        default=None,
        description='Null or "best": the one that was measured most faithful to the model.',
        json_schema_extra=_or_most_faithful,
    )
    target: str | int | None = Field(
        default=None,
        description="The answer to explain in place of the one given: a label, a kind of entity, or a choice by its "
        "text or its place.",
    )
    top_k: int | None = Field(
        default=None, ge=1, description="Most entries of `items`, those of the largest absolute scores; null gives all."
    )
    unit: ExplanationUnit = Field(default="word", description="Score words, or the tokens that the model reads.")

    @model_validator(mode="before")
    @classmethod
    def _accept_short_forms(cls, value: Any) -> Any:
        if value is True:
            return {}
        if isinstance(value, Mapping | ExplainOptions):
            return value
        if isinstance(value, str) and value in _METHODS:
            return {"method": value}
        raise PydanticCustomError("explanation_method", f"{_ANY_METHOD}, or true, an object, or null for none")

    @field_validator("method", mode="before")
    @classmethod
    def _accept_most_faithful(cls, value: Any) -> Any:
        if value is not None and not (isinstance(value, str) and value in _METHODS):
            raise PydanticCustomError("explanation_method", f"{_ANY_METHOD}, or null")
        return None if value == MOST_FAITHFUL else value

    @field_validator("target", mode="before")
    @classmethod
    def _refuse_other_targets(cls, value: Any) -> Any:
        # The errors of a union would name its members as if they were fields.
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
            raise PydanticCustomError("explanation_target", "must be a text or a whole number")
        return value


class ExplainedUnit(BaseModel):
    """A word or token and its score."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="The field of the input that it stands in, `choices/2` for the third of `choices`.")
    text: str
    start: int = Field(description="In that field, in the request's `offset_unit`.")
    end: int
    score: float = Field(
        description="Attention and rollout: its share, all shares adding up to 1. Decomposition and occlusion: what it "
        "adds to the logits of the target; negative where it speaks against it."
    )


class Explanation(BaseModel):
    """The words or tokens that the answer rests on, in the order of the text.

    Words that were cut off, so that the model never saw them, have score 0.
    """

    model_config = ConfigDict(frozen=True)

    method: ExplanationMethod
    target: str = Field(description="The answer that is explained.")
    unit: ExplanationUnit
    rest: float | None = Field(
        description="Decomposition and occlusion: the logits of the target less the scores of all words, also of those "
        "that `top_k` leaves out."
    )
    faithfulness: Faithfulness | None = Field(
        description="How faithful the method was measured to be to this model; null where it was not measured."
    )
    items: tuple[ExplainedUnit, ...]
