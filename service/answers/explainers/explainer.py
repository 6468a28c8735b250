"""The interface of an explainer, and the first run, from which it starts."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from export.package import Manifest
from export.session import Arrays
from models.tasks.task import Prediction
from models.text import Row, Truncation
from service.answers.batch import EncodedItem, ItemTokenScores
from service.answers.model import LoadedModel
from service.engine.futures import then
from service.engine.submission import EngineResult


@dataclass(frozen=True, kw_only=True)
class FirstRun:
    """Items of one request with their predictions, and the model, which can compute more."""

    model: LoadedModel
    items: Sequence[EncodedItem]
    predictions: Sequence[Prediction[Any]]
    """The prediction of each item."""
    arrays: Sequence[Sequence[Arrays]]
    """For each item the arrays of its rows: the logits, and the outputs that the explainer asked for."""
    truncation: Truncation
    """How the request wants long texts to be read."""
    deadline: float | None
    queue_s: float
    """Time from handing in until the first row was taken up."""
    infer_s: float
    """Time from then until the last row was done."""

    def run_again(self, rows: Sequence[Row], outputs: tuple[str, ...]) -> Future[list[Arrays]]:
        """The arrays of further rows, in their order.

        The request was let into the queue with its first rows, so these are let in even where the queue is full. The
        future may hold BrokenModel, DeadlineExceeded or EngineClosed; when it is cancelled, the rows that still wait
        are not computed.
        """
        model = self.model  # not `self`: it would keep the arrays of the first run while these rows wait

        def checked(computed: EngineResult) -> list[Arrays]:
            model.refuse_broken(computed.rows)
            return computed.rows

        return then(model.submit(rows, outputs, deadline=self.deadline, admitted=True), checked)


def decode_run(
    model: LoadedModel,
    items: Sequence[EncodedItem],
    computed: EngineResult,
    truncation: Truncation,
    deadline: float | None,
) -> FirstRun:
    """The predictions for items whose rows are computed; raises BrokenModel where an output is not finite."""
    model.refuse_broken(computed.rows)
    rows = iter(computed.rows)
    arrays = [[next(rows) for _ in item.encoded.rows] for item in items]
    return FirstRun(
        model=model,
        items=items,
        predictions=[model.decode(one, item.encoded) for item, one in zip(items, arrays, strict=True)],
        arrays=arrays,
        truncation=truncation,
        deadline=deadline,
        queue_s=computed.queue_s,
        infer_s=computed.infer_s,
    )


class Explainer(Protocol):
    """One way to compute token scores."""

    def is_offered(self, manifest: Manifest) -> bool:
        """Whether answers of this package can be explained so."""

    def outputs(self, model: LoadedModel) -> tuple[str, ...]:
        """Outputs of the graph that the run of the predictions must compute beside the logits."""

    def score(self, first: FirstRun) -> Future[list[ItemTokenScores]]:
        """The token scores of each item, for every part of its prediction and each row that the part came from.

        It is called in a thread of the engine, so it must not wait for rows that it hands in: it makes its future from
        theirs (`then`, `then_wait`), so that whoever cancels it cancels them.

        Raises:
            NotOffered: there is too much to explain.
        """
