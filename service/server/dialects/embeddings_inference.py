"""The protocol of Text Embeddings Inference (TEI), under `/tei`, for its clients: `/predict`, `/similarity`, `/rerank`.

Texts are reranked by `sts`, not by `paraphrase`: the first is trained to put pairs in order of their likeness, and the
second to say yes or no, so that nearly all its probabilities lie at the ends.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.responses import Response

from models.tasks.pairs import PairItem
from models.tasks.task import LabelScore
from service.answers.contract import Options
from service.server.dialects.answering import TEXT_CLASSIFIERS, Answering, one_or_more, respond_json
from service.server.dialects.dialect import Address, Dialect, Document, Operation
from service.server.problems import Problem, ProblemForm
from service.version import VERSION

RERANKS = "sts"
"""The endpoint whose model compares and reranks texts."""

PAIR_CLASSIFIERS = ("nli", "pair-classification")
"""The endpoints whose models judge pairs of texts; the first for which a model is served does."""

_ERROR_TYPES = {"empty_input": "Empty", "overloaded": "Overloaded", "not_ready": "Unhealthy", "draining": "Unhealthy"}
"""TEI's names of errors by our codes; the others are `Validation`, or `Backend` where the server is at fault."""


class ReadingOptions(BaseModel):
    """The fields that all requests share; an error never quotes their texts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    truncate: bool | None = Field(default=None, description="Cut long texts; else they are read in windows.")
    truncation_direction: Literal["right", "Right"] | None = None

    @property
    def options(self) -> Options:
        """How long texts are read."""
        return Options(truncation="right" if self.truncate else "window")


_Texts = Annotated[list[str], Field(min_length=1, max_length=2)]


class PredictRequest(ReadingOptions):
    """A text, a pair of texts, or a batch of either; a list of two texts is one pair."""

    inputs: Annotated[
        str | _Texts | Annotated[list[_Texts], Field(min_length=1)],
        one_or_more('a text, a pair ["a", "b"], or a batch [["a"], ["b"]] or [["a", "b"], ["c", "d"]]'),
    ]
    raw_scores: bool | None = None

    @field_validator("raw_scores")
    @classmethod
    def _refuse_raw(cls, value: bool | None) -> bool | None:
        if value:
            raise ValueError("must be false: scores are probabilities")
        return value


class ComparedSentences(BaseModel):
    """A sentence, and those that it is compared with."""

    model_config = ReadingOptions.model_config

    source_sentence: str
    sentences: list[str] = Field(min_length=1)


class SimilarityRequest(BaseModel):
    """A request to compare sentences."""

    model_config = ReadingOptions.model_config

    inputs: ComparedSentences
    parameters: ReadingOptions | None = None


class RerankRequest(ReadingOptions):
    """A request to put texts in the order of their likeness to a query."""

    query: str
    texts: list[str] = Field(min_length=1)
    raw_scores: bool | None = Field(default=None, description="Scores from 0 to 5 instead of 0 to 1.")
    return_text: bool | None = None


class Rank(BaseModel):
    """A text's place in the order."""

    index: int = Field(description="Its place in the request, from 0.")
    score: float
    text: str | None = None


class TypedError(BaseModel):
    """The body of an error."""

    error: str
    error_type: str


DOCUMENT = Document(
    tag="Text Embeddings Inference",
    describes="For clients of TEI, of what needs no embeddings. `/rerank` is `/tei/rerank`, too.",
    operations=[
        Operation(
            name="tei-predict",
            path="/tei/predict",
            describes=f"The labels of a text by {' or '.join(TEXT_CLASSIFIERS)}, or of a pair of texts by "
            f"{' or '.join(PAIR_CLASSIFIERS)}; or of a batch of either.",
            body=PredictRequest,
            example={"inputs": "A joy from start to end."},
            answer=list[LabelScore] | list[list[LabelScore]],
        ),
        Operation(
            name="tei-similarity",
            path="/tei/similarity",
            describes="The likeness of each sentence to one, from 0 to 1.",
            body=SimilarityRequest,
            example={"inputs": {"source_sentence": "A man is eating food.", "sentences": ["A man eats a meal."]}},
            answer=list[float],
        ),
        Operation(
            name="tei-rerank",
            path="/tei/rerank",
            describes="Texts in the order of their likeness to a query.",
            body=RerankRequest,
            example={"query": "A man is eating food.", "texts": ["The sun is bright.", "A man eats a meal."]},
            answer=list[Rank],
        ),
        Operation(
            name="tei-info",
            path="/tei/info",
            method="GET",
            describes="The model that reranks.",
            answer=dict[str, Any],
        ),
        Operation(name="tei-health", path="/tei/health", method="GET", describes="Whether the server is ready."),
    ],
    error=TypedError,
)


def build(models: Answering) -> Dialect:
    """The dialect, answered by these models."""
    answers = _Answers(models)

    def refuse_early(size: int) -> None:
        models.refuse_early(RERANKS, size)

    return Dialect(
        addresses=[
            Address(path="/tei/predict", answer=answers.predict),
            Address(path="/tei/similarity", answer=answers.compare, refuse_early=refuse_early),
            Address(path="/tei/rerank", answer=answers.rerank, refuse_early=refuse_early),
            # Haystack's ranker drops the path of the URL that it is given.
            Address(path="/rerank", answer=answers.rerank, refuse_early=refuse_early),
            Address(path="/tei/info", method="GET", answer=answers.describe),
            Address(path="/tei/health", method="GET", answer=answers.show_health, probe="ready"),
        ],
        problem_form=ProblemForm("application/json", _write_error),
    )


class _Answers:
    """The handlers of the addresses."""

    def __init__(self, models: Answering) -> None:
        self._models = models

    async def predict(self) -> Response:
        request = await self._models.read(PredictRequest)
        given = [request.inputs] if isinstance(request.inputs, str) else request.inputs
        is_batch = not isinstance(given[0], str)
        batch: list[list[str]] = given if is_batch else [given]  # type: ignore[assignment, list-item]
        if len({len(texts) for texts in batch}) > 1:
            raise Problem("validation", "/inputs: must be all single texts or all pairs: other models judge pairs")
        self._models.refuse_many(len(batch), "texts")
        endpoint = self._models.choose_endpoint(PAIR_CLASSIFIERS if len(batch[0]) == 2 else TEXT_CLASSIFIERS)
        with self._models.registry.using(endpoint) as predictor:
            task = predictor.task
            items = [task.item.model_validate(dict(zip(task.columns, texts, strict=True))) for texts in batch]
            name = "inputs/{}".format if is_batch else lambda _: "inputs"
            results = await self._models.answer(predictor, items, name, request.options)
        labels = [[{"score": one.score, "label": one.label} for one in result.scores] for result in results]
        return respond_json(labels if is_batch else labels[0])

    async def compare(self) -> Response:
        request = await self._models.read(SimilarityRequest)
        given, options = request.inputs, (request.parameters or ReadingOptions()).options
        results = await self._compare(given.source_sentence, given.sentences, "inputs/sentences", options)
        return respond_json([result.normalized for result in results])

    async def rerank(self) -> Response:
        request = await self._models.read(RerankRequest)
        results = await self._compare(request.query, request.texts, "texts", request.options)
        scores = [result.score if request.raw_scores else result.normalized for result in results]
        # Of equal scores, the text that came first stays first.
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        ranks: list[dict[str, Any]] = [{"index": index, "score": scores[index]} for index in order]
        if request.return_text:
            ranks = [rank | {"text": request.texts[rank["index"]]} for rank in ranks]
        return respond_json(ranks)

    async def describe(self) -> Response:
        """The facts about the model that reranks, under TEI's names."""
        predictor = self._models.registry.for_endpoint(RERANKS)[0]
        settings = self._models.settings
        return respond_json(
            {
                "model_id": predictor.name.name,
                "model_sha": predictor.name.digest,
                "model_dtype": predictor.name.precision,
                "model_type": {"reranker": {"id2label": {"0": "similarity"}, "label2id": {"similarity": 0}}},
                "max_concurrent_requests": settings.max_connections,
                "max_input_length": predictor.limits.max_item_tokens,
                "max_batch_tokens": settings.batch_tokens,
                "max_batch_requests": None,
                "max_client_batch_size": settings.max_items,
                "auto_truncate": False,
                "tokenization_workers": settings.long_work_threads,
                "version": VERSION,
            }
        )

    async def show_health(self) -> Response:
        _ = self._models.registry.predictors
        return Response()

    async def _compare(self, one: str, others: list[str], name: str, options: Options) -> list[Any]:
        self._models.refuse_many(len(others), "texts")
        items = [PairItem(text_a=one, text_b=other) for other in others]
        with self._models.registry.using(RERANKS) as predictor:
            return await self._models.answer(predictor, items, f"{name}/{{}}".format, options)


def _write_error(problem: Problem, request_id: str) -> bytes:
    del request_id  # it is in the header X-Request-ID
    usual = "Validation" if problem.status < 500 else "Backend"
    body = {"error": problem.detail, "error_type": _ERROR_TYPES.get(problem.code, usual)}
    return json.dumps(body, ensure_ascii=False).encode()
