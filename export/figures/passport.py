"""A package's passport: what its graph was measured to withstand, and with which differences it treats people."""

from pydantic import BaseModel, ConfigDict, Field


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AttackFigure(_Frozen):
    """The right answers that stand under one attack on the validation part."""

    attack: str = Field(description="The family of its edits.")
    words: str = Field(description="Most words that it may change: a number, or a share.")
    rows: int = Field(gt=0, description="Records that were attacked, those that are wrong at first included.")
    accuracy: float = Field(ge=0, le=1, description="The share of right answers before the attack.")
    under_attack: float = Field(ge=0, le=1, description="The share of records right before and after it.")
    standard_error: float = Field(ge=0, description="The standard error of `under_attack`.")

    @property
    def name(self) -> str:
        """The attack and its budget, such as `typos-2` or `synonyms-15%`."""
        return f"{self.attack}-{self.words}"


class NameGap(_Frozen):
    """The largest difference that names and terms of identity make to the score of sentences that are else the same."""

    gap: float = Field(ge=0, le=1, description="Difference between the mean scores of two groups over the templates.")
    kind: str = Field(description="What the groups differ in, such as religion.")
    highest: str = Field(description="The group of the highest mean.")
    lowest: str
    templates: int = Field(gt=0, description="Sentences that each group was put into.")


class Passport(_Frozen):
    """Everything that the exported graph was measured to withstand."""

    attacks: tuple[AttackFigure, ...] = Field(description="Searches for edits that turn right answers.")
    metrics: dict[str, dict[str, float]] = Field(
        description="Metrics under random noise, on sets made to mislead, and on behaviour tests, with their rows."
    )
    name_gap: NameGap | None = Field(
        default=None, description="Null for a task that declares no sentences for it, and for other labels than theirs."
    )
