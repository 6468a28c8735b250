"""The pydantic types that callers send and get, over HTTP (with its OpenAPI document), by `predict` and by `score`."""

from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
    field_validator,
)
from pydantic_core import PydanticCustomError

from export.figures.passport import Passport
from export.figures.reference import Reference
from export.package import DeterminismReport, Faithfulness, ParityReport, Precision, QualityReport, Twin
from models.checkpoint import DataFile, Licences
from models.errors import first_mistake, tell_mistakes
from models.tasks.task import AnyTask
from models.text import BadInput, BadInputCode, Truncation
from service.answers.certificate import Certificate, CertifiedFamily
from service.answers.explanation import ExplainOptions, Explanation, ExplanationMethod
from service.answers.offsets import OffsetUnit


class Options(BaseModel):
    """The options of one request, which hold for all its inputs."""

    # An error that quotes its input would carry texts into logs.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    explain: ExplainOptions | None = Field(default=None, description="Score every word by its part in the answer.")
    certify: CertifiedFamily | None = Field(
        default=None, description="Try every edit of one word of this family, and say whether one changes the answer."
    )
    truncation: Truncation = Field(
        default="window",
        description="A text longer than the model reads is refused, cut at its end, or read in overlapping windows.",
    )
    on_error: Literal["fail", "report"] = Field(
        default="fail", description="An input that cannot be answered fails the request, or is reported in `errors`."
    )
    top_k: int | None = Field(default=None, ge=1, description="Most entries of `scores`; null gives all.")
    offset_unit: OffsetUnit = Field(default="codepoint", description="What `start` and `end` count.")


class ItemPosition(BaseModel):
    """The input that a result belongs to."""

    index: int
    id: str | None


class CorrectedPiece(BaseModel):
    """A piece of an input that was read as something else, by a package that corrects texts."""

    field: str
    start: int = Field(description="In that field, in the request's `offset_unit`.")
    end: int
    to: str = Field(description="What was read; empty for signs that nobody sees.")


class EncodingSummary(BaseModel):
    """A summary of the tokens and windows in which an input was read."""

    tokens: int = Field(description="Tokens computed, special tokens and the overlap of windows included.")
    truncated: bool = Field(description="Whether some of the text was not read.")
    windows: int
    unknown_share: float = Field(
        ge=0,
        le=1,
        description="The share of its tokens for which the model has no word: unknown ones, single letters inside "
        "words, and single letters of a script that is not the model's. Near 1, the answer rests on nothing.",
    )
    corrections: tuple[CorrectedPiece, ...] = Field(
        default=(),
        exclude_if=lambda corrections: not corrections,
        description="The pieces that were not read as they are written, by field in the order of the text. Left out "
        "where there is none.",
    )


class WithExplanation(BaseModel):
    """The explanation of the whole answer."""

    explanation: Explanation | None = Field(description="Null where none is asked for, or it would be too long.")


class WithExplanations(BaseModel):
    """The explanations of the parts of the answer."""

    explanation: tuple[Explanation, ...] | None = Field(
        description="One for each entity or label of the answer, in their order. Null where none is asked for, or "
        "they would be too long."
    )


class WithCertificate(BaseModel):
    """The certificate of the answer."""

    certificate: Certificate | None = Field(
        description="Null where none is asked for, the input has too many edits to try, or time ran out."
    )


class ItemError(BaseModel):
    """The reason why one input has no result, or a result without the explanation or the certificate."""

    index: int
    code: BadInputCode | Literal["explanation_too_long", "certificate_too_long"]
    detail: str


class ModelName(BaseModel):
    """The model that answered."""

    model_config = ConfigDict(frozen=True)

    task: str
    name: str
    digest: str
    method: str
    precision: Precision


class Limits(BaseModel):
    """The limits of a request, and of the texts that a model reads."""

    max_items: int
    max_body_bytes: int
    max_tokens: int = Field(description="Longest row the model reads, special tokens included.")
    max_item_tokens: int = Field(description="Longest input in all its windows.")
    max_characters: int
    max_occlusion_words: int = Field(description="Most words of an input to explain by occlusion.")
    max_certify_rows: int = Field(description="Most rows to compute for the certificate of an input.")


class ModelCard(ModelName):
    """A model: what it is, what it accepts, and how good it is according to its manifest."""

    is_default: bool = Field(description="Whether it answers requests that name no model.")
    others: tuple[str, ...] = Field(description="The other models for the task, as a request can name them.")
    is_fallback: bool = Field(description="Whether fp32 answers because int8 gives something else on this machine.")
    labels: tuple[str, ...]
    score_range: tuple[float, float] | None
    label_threshold: float | None = Field(
        description="From this probability on, a text has a label; null where a text has just one."
    )
    outside_threshold: float | None = Field(
        description="A word lies outside of entities where that is likeliest, with this probability at least; null for "
        "tasks without entities."
    )
    base: str
    limits: Limits
    explanations: tuple[ExplanationMethod, ...]
    targets: tuple[str, ...] = Field(
        description="Answers that an explanation may have as its target. Empty where these are the input's own "
        "choices, or where no answer but the one given is explained."
    )
    truncations: tuple[Truncation, ...]
    metrics: dict[str, dict[str, float]] = Field(description="By data set.")
    noise: dict[str, Any] | None = Field(description="Settings of the noise that it was trained with.")
    passport: Passport | None = Field(description="What it withstands, where that was measured.")
    twins: tuple[Twin, ...] = Field(
        description="Trainings on the same data by other methods or without noise, and itself without correction."
    )
    faithfulness: dict[str, Faithfulness] = Field(description="By explanation method, where it was measured.")
    reference: Reference | None = Field(description="How its answers to usual texts are spread, where that is stated.")
    quality: QualityReport
    parity: ParityReport
    determinism: DeterminismReport
    data: tuple[DataFile, ...]
    licences: Licences


class ModelList(BaseModel):
    """All models; for each task its default comes first."""

    models: list[ModelCard]


class Reload(BaseModel):
    """The request to read the packages of the models again."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    reload: Literal[True]

    @field_validator("reload", mode="before")
    @classmethod
    def _refuse_others(cls, value: Any) -> Any:
        # 1 equals True.
        if value is not True:
            raise PydanticCustomError("reload", "must be true, which reads the packages again")
        return value


class Usage(BaseModel):
    """The cost of a request."""

    items: int = Field(description="Inputs answered.")
    tokens: int


class Timing(BaseModel):
    """The time that each stage of a request took, in milliseconds."""

    queue: float = Field(description="From the texts being read until the first of them was taken up.")
    tokenize: float
    infer: float = Field(description="From then until the last was done.")
    total: float = Field(description="Since the request came in, its body included.")


class AnswerBody(BaseModel):
    """The body of every answer: the results, and what they have in common."""

    id: str = Field(description="The request's id, as in `X-Request-ID`.")
    model: ModelName
    results: list[Any]
    errors: list[ItemError] = Field(
        default=[],
        description='Inputs without a result, with `"on_error": "report"`; and results without the explanation or '
        "the certificate that was asked for, because there is too much to compute. An empty list is left out unless "
        "reports were asked for.",
    )
    usage: Usage
    timing_ms: Timing


@cache
def result_type(task: AnyTask) -> type[BaseModel]:
    """The type of one input's result.

    Its fields are the position of the input, the fields of `task.answer`, the encoding summary, the certificate and the
    explanation.
    """
    explained = WithExplanations if task.explains_each else WithExplanation
    # pydantic lists the fields of the last base first.
    return create_model(
        f"{_title(task.name)}Result", __base__=(explained, WithCertificate, EncodingSummary, task.answer, ItemPosition)
    )


def request_type(task: AnyTask, max_items: int) -> type[Options]:
    """The type of the body of a request for `task`, and for any other task of the same endpoint.

    With `"on_error": "report"`, a BadInput stands in `inputs` where something is no item of the task.
    """
    inputs: Any = list[Annotated[task.item, WrapValidator(_report_unreadable)]]
    limits = Field(min_length=1, max_length=max_items)
    model = Field(default=None, description="Which of the task's models answers; null: its default.")
    return create_model(
        f"{_title(task.endpoint)}Request", __base__=Options, inputs=(inputs, limits), model=(str | None, model)
    )


def _report_unreadable(value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    try:
        return read(value)
    except ValidationError as error:
        # The options are read before the inputs, since a model's own fields come after those of its base.
        if info.data.get("on_error") != "report":
            raise
        return BadInput("validation", first_mistake(error).place.replace(".", "/"), tell_mistakes(error))


def answer_type(*tasks: AnyTask) -> type[AnswerBody]:
    """The type of the body that answers a request at the endpoint of these tasks."""
    results: Any = list[Union[tuple(map(result_type, tasks))]]  # type: ignore[misc]  # noqa: UP007
    return create_model(f"{_title(tasks[0].endpoint)}Answer", __base__=AnswerBody, results=(results, ...))


def _title(name: str) -> str:
    return name.title().replace("-", "")
