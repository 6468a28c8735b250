"""Hugging Face's inference protocol, `POST /hf/TASK` or `/hf/TASK/MODEL`, as `InferenceClient` speaks it.

Zero-shot classification asks an inference model whether a text entails a sentence about each label (Yin et al., EMNLP
2019). Similarity is that of `sts`, from 0 to 1. Text classification gives probabilities as transformers' pipeline does:
by softmax, or by sigmoid where a text may have several labels.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.responses import Response

from models.tasks.extractive import EXTRACTIVE_READING
from models.tasks.nli import NliItem
from models.tasks.pairs import PairItem
from models.tasks.reading_comprehension import ReadingItem
from models.tasks.task import AnyTask, LabelScore, TextItem
from service.answers.predictor import Predictor
from service.server.context import current_request
from service.server.dialects.answering import (
    TEXT_CLASSIFIERS,
    Answering,
    ErrorText,
    one_or_more,
    quote,
    respond_json,
    write_error,
)
from service.server.dialects.dialect import Address, Dialect, Document, Operation
from service.server.problems import Problem, ProblemForm

ENTAILMENT, CONTRADICTION = "entailment", "contradiction"


class _Body(BaseModel):
    """Part of a body; an error never quotes its texts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


InputsT = TypeVar("InputsT")
ParametersT = TypeVar("ParametersT", bound=BaseModel)


class _Request(_Body, Generic[InputsT, ParametersT]):
    """The body of every request. A single input stands alone, and its answer is not in a list of answers."""

    inputs: InputsT
    parameters: ParametersT = Field(default_factory=dict, validate_default=True)
    options: dict[str, Any] = Field(default={}, description="For the caches of Hugging Face's own servers.")


class TextClassificationParameters(_Body):
    """The parameters of text classification."""

    top_k: int | None = Field(default=None, ge=1)
    function_to_apply: Literal["softmax", "sigmoid"] | None = Field(
        default=None, description="The model's own: sigmoid where a text may have several labels, else softmax."
    )


class TokenClassificationParameters(_Body):
    """The parameters of token classification. Words are labelled whole, so that all strategies give the same."""

    aggregation_strategy: Literal["simple", "first", "average", "max"] | None = None
    ignore_labels: tuple[str, ...] | None = None
    stride: int | None = Field(default=None, ge=0, description="Windows overlap as much as the server says.")


class Question(_Body):
    """A question about a context."""

    question: str
    context: str


class QuestionAnsweringParameters(_Body):
    """The parameters of question answering."""

    top_k: int | None = Field(default=None, ge=1)
    handle_impossible_answer: bool | None = None


class SourceAndSentences(_Body):
    """A sentence, and those that it is compared with."""

    source_sentence: str
    sentences: tuple[str, ...] = Field(min_length=1)


class NoParameters(_Body):
    """No parameters."""


class ZeroShotParameters(_Body):
    """The parameters of zero-shot classification."""

    candidate_labels: list[str] = Field(min_length=1)
    multi_label: bool | None = None
    hypothesis_template: str | None = Field(default=None, description="A sentence with {} in the place of the label.")

    @field_validator("candidate_labels", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [label.strip() for label in value.split(",") if label.strip()] if isinstance(value, str) else value

    @field_validator("hypothesis_template")
    @classmethod
    def _check_place(cls, value: str | None) -> str | None:
        if value is not None and value.count("{}") != 1:
            raise ValueError("must hold {} once, where the label goes")
        return value


_Several = Field(min_length=1)
_Texts = Annotated[str | Annotated[list[str], _Several], one_or_more("a text, or a list of texts")]
_Questions = Annotated[
    Question | Annotated[list[Question], _Several],
    one_or_more("an object with question and context, or a list of such"),
]


@dataclass(frozen=True)
class _Task:
    """A task as Hugging Face names it, and what answers it here."""

    endpoints: tuple[str, ...]
    """The endpoints that can; the first for which a model is served does."""
    request: type[BaseModel]
    answer: Callable[[Answering, Predictor, Any], Awaitable[object]]
    task: AnyTask | None = None
    """The one task of its endpoint that can, where not all can."""

    @property
    def answered_by(self) -> str:
        """The names of the tasks that can."""
        return self.task.name if self.task else " or ".join(self.endpoints)


async def _classify(
    models: Answering, predictor: Predictor, request: _Request[Any, TextClassificationParameters]
) -> object:
    texts = _as_list(request.inputs)
    _check_function(predictor, request.parameters.function_to_apply)
    models.refuse_many(len(texts), "texts")
    results = await models.answer(predictor, [TextItem(text=text) for text in texts], _name(request.inputs))
    most = request.parameters.top_k
    # Of a flat list clients take the first entry alone: a single text has a list in a list, too.
    return [[{"label": one.label, "score": one.score} for one in result.scores[:most]] for result in results]


def _check_function(predictor: Predictor, asked: str | None) -> None:
    """Raise Problem where a caller asks for other probabilities than the model was trained to give."""
    own = "sigmoid" if predictor.task.head == "multi-label-classification" else "softmax"
    if asked not in (None, own):
        raise Problem(
            "validation", f"/parameters/function_to_apply: must be {own!r}, by which {predictor.name.name} was trained"
        )


async def _find_entities(
    models: Answering, predictor: Predictor, request: _Request[Any, TokenClassificationParameters]
) -> object:
    texts = _as_list(request.inputs)
    models.refuse_many(len(texts), "texts")
    results = await models.answer(predictor, [TextItem(text=text) for text in texts], _name(request.inputs))
    ignored = frozenset(request.parameters.ignore_labels or ())
    found = [
        [
            {"entity_group": one.label, "score": one.score, "word": one.text, "start": one.start, "end": one.end}
            for one in result.entities
            if one.label not in ignored
        ]
        for result in results
    ]
    return found if isinstance(request.inputs, list) else found[0]


async def _find_spans(
    models: Answering, predictor: Predictor, request: _Request[Any, QuestionAnsweringParameters]
) -> object:
    asked = request.inputs if isinstance(request.inputs, list) else [request.inputs]
    models.refuse_many(len(asked), "questions")
    items = [ReadingItem(question=one.question, context=one.context) for one in asked]
    results = await models.answer(predictor, items, _name(request.inputs))
    most = request.parameters.top_k
    found = [_spans(result, request.parameters.handle_impossible_answer or False)[: most or 1] for result in results]
    shown = [spans[0] if most in (None, 1) else spans for spans in found]
    return shown if isinstance(request.inputs, list) else shown[0]


def _spans(result: Any, may_be_impossible: bool) -> list[dict[str, object]]:
    """The best spans, best first; "no answer" is an empty one, given where it is asked for or there is no other."""
    nothing = {"answer": "", "score": result.no_answer_score, "start": 0, "end": 0}
    spans = [{"answer": one.label, "score": one.score, "start": one.start, "end": one.end} for one in result.scores]
    if may_be_impossible:
        place = 0 if result.answer is None else sum(one.score >= result.no_answer_score for one in result.scores)
        spans.insert(place, nothing)
    return spans or [nothing]


async def _compare(models: Answering, predictor: Predictor, request: _Request[SourceAndSentences, Any]) -> object:
    given = request.inputs
    models.refuse_many(len(given.sentences), "sentences")
    items = [PairItem(text_a=given.source_sentence, text_b=other) for other in given.sentences]
    results = await models.answer(predictor, items, "inputs/sentences/{}".format)
    return [result.normalized for result in results]


async def _choose_labels(models: Answering, predictor: Predictor, request: _Request[Any, ZeroShotParameters]) -> object:
    texts, labels = _as_list(request.inputs), request.parameters.candidate_labels
    models.refuse_many(len(texts) * len(labels), "pairs of a text and a label")
    template = request.parameters.hypothesis_template or "This example is {}."
    hypotheses = [template.replace("{}", label) for label in labels]
    items = [NliItem(premise=text, hypothesis=hypothesis) for text in texts for hypothesis in hypotheses]
    name = _name(request.inputs)
    results = await models.answer(predictor, items, lambda number: name(number // len(labels)))
    # A single label has no other to share a score with.
    are_apart = request.parameters.multi_label or len(labels) == 1
    support = [_support(result, are_apart) for result in results]
    ranked = [
        _rank(labels, support[start : start + len(labels)], are_apart) for start in range(0, len(support), len(labels))
    ]
    shown = [_write_ranking(text, ranking) for text, ranking in zip(texts, ranked, strict=True)]
    return shown if isinstance(request.inputs, list) else shown[0]


def _support(result: Any, is_alone: bool) -> float:
    """The probability that a text entails a sentence; `is_alone` leaves it that or a contradiction."""
    chances = {one.label: one.score for one in result.scores}
    if ENTAILMENT not in chances:
        known = ", ".join(chances)
        raise Problem("model_not_found", f"this model chooses no labels: it has none {ENTAILMENT!r}, but {known}")
    entailed = float(chances[ENTAILMENT])
    against = chances.get(CONTRADICTION, 1 - entailed)
    return entailed / (entailed + against) if is_alone and entailed + against > 0 else entailed


def _rank(labels: Sequence[str], support: Sequence[float], are_apart: bool) -> list[tuple[str, float]]:
    """The labels with their scores, best first; they share one unless they are judged apart."""
    total = 1.0 if are_apart else sum(support)
    scores = [one / total for one in support] if total > 0 else [1 / len(labels)] * len(labels)
    return sorted(zip(labels, scores, strict=True), key=lambda pair: -pair[1])


def _write_ranking(text: str, ranking: Sequence[tuple[str, float]]) -> object:
    # Clients before 1.0 take one object, and each fails at the form of the other.
    if b"hf_hub/0." in (current_request.get().header(b"user-agent") or b""):
        labels, scores = zip(*ranking, strict=True)
        return {"sequence": text, "labels": labels, "scores": scores}
    return [{"label": label, "score": score} for label, score in ranking]


class TextClassificationBody(_Request[_Texts, TextClassificationParameters]):
    """A text, or several, to be given labels."""


class TokenClassificationBody(_Request[_Texts, TokenClassificationParameters]):
    """A text, or several, in which entities are to be found."""


class QuestionAnsweringBody(_Request[_Questions, QuestionAnsweringParameters]):
    """A question about a context, or several."""


class SentenceSimilarityBody(_Request[SourceAndSentences, NoParameters]):
    """Sentences to be compared with one."""


class ZeroShotBody(_Request[_Texts, ZeroShotParameters]):
    """A text, or several, to be given one of the caller's own labels."""


TASKS: dict[str, _Task] = {
    "text-classification": _Task(TEXT_CLASSIFIERS, TextClassificationBody, _classify),
    "token-classification": _Task(("ner",), TokenClassificationBody, _find_entities),
    "question-answering": _Task(("reading-comprehension",), QuestionAnsweringBody, _find_spans, EXTRACTIVE_READING),
    "sentence-similarity": _Task(("sts",), SentenceSimilarityBody, _compare),
    "zero-shot-classification": _Task(("nli",), ZeroShotBody, _choose_labels),
}
"""The tasks by Hugging Face's names."""


class EntityGroup(BaseModel):
    """An entity."""

    entity_group: str
    score: float
    word: str
    start: int
    end: int


class AnswerSpan(BaseModel):
    """The words of a context that answer a question."""

    answer: str
    score: float
    start: int
    end: int


class Ranking(BaseModel):
    """Labels for a text, best first, as clients before 1.0 take them."""

    sequence: str
    labels: list[str]
    scores: list[float]


_SHOWN: dict[str, tuple[dict[str, Any], Any]] = {
    "text-classification": ({"inputs": "A joy from start to end."}, list[list[LabelScore]]),
    "token-classification": (
        {"inputs": "Ada Lovelace met Charles Babbage in London."},
        list[EntityGroup] | list[list[EntityGroup]],
    ),
    "question-answering": (
        {"inputs": {"question": "Where did they meet?", "context": "They met in London."}},
        AnswerSpan | list[AnswerSpan] | list[list[AnswerSpan]],
    ),
    "sentence-similarity": (
        {"inputs": {"source_sentence": "A man is eating food.", "sentences": ["A man eats a meal."]}},
        list[float],
    ),
    "zero-shot-classification": (
        {"inputs": "It rained all day.", "parameters": {"candidate_labels": ["weather", "sport"]}},
        list[LabelScore] | list[list[LabelScore]] | Ranking | list[Ranking],
    ),
}
"""An example of a body, and the type of an answer, for each task."""

DOCUMENT = Document(
    tag="Hugging Face",
    describes="For `huggingface_hub.InferenceClient`. The name of a model may follow each address.",
    operations=[
        Operation(
            name=f"hf-{name}",
            path=f"/hf/{name}",
            describes=f"{task.request.__doc__ or ''} Answered by {task.answered_by}.",
            body=task.request,
            example=_SHOWN[name][0],
            answer=_SHOWN[name][1],
        )
        for name, task in TASKS.items()
    ],
    error=ErrorText,
)


def build(models: Answering) -> Dialect:
    """The dialect, answered by these models."""

    async def answer(task: str, model: str | None = None) -> Response:
        asked = _find(task)
        request = await models.read(asked.request)
        endpoint = models.choose_endpoint(asked.endpoints, model)
        with models.registry.using(endpoint, _choose(models, asked.task, endpoint, model)) as predictor:
            return respond_json(await asked.answer(models, predictor, request))

    def refuse_early(size: int, task: str, model: str | None = None) -> None:
        models.refuse_early(models.choose_endpoint(_find(task).endpoints, model), size)

    paths = ("/hf/{task}", "/hf/{task}/{model}")
    return Dialect(
        addresses=[Address(path=path, answer=answer, refuse_early=refuse_early) for path in paths],
        problem_form=ProblemForm("application/json", write_error),
    )


def _find(name: str) -> _Task:
    try:
        return TASKS[name]
    except KeyError:
        raise Problem("not_found", f"no task {quote(name)}; choose one of: {', '.join(TASKS)}") from None


def _choose(models: Answering, task: AnyTask | None, endpoint: str, model: str | None) -> str | None:
    """The name of the model that answers, by a task where only one can; None for the endpoint's default."""
    if task is None:
        return model
    able = [one.name.name for one in models.registry.for_endpoint(endpoint) if one.task is task]
    others = [one.name.name for one in models.registry.for_endpoint(endpoint) if one.task is not task]
    if model not in others and (able or model is not None):
        return model or able[0]
    cure = f"ask {' or '.join(able)}" if able else f"serve a package for {task.name}, which zoo/ has none for"
    raise Problem(
        "model_not_found",
        f"{model or ', '.join(others)} chooses among answers that are given, and finds none in a text; {cure}",
    )


def _as_list(inputs: str | list[str]) -> list[str]:
    return [inputs] if isinstance(inputs, str) else inputs


def _name(inputs: object) -> Callable[[int], str]:
    """How messages call an input."""
    return "inputs/{}".format if isinstance(inputs, list) else lambda _: "inputs"
