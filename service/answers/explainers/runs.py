"""The runs of the graph that answer and explain: first the items' own rows, then what an explainer plans."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import chain

from export.session import Arrays
from service.answers.batch import EncodedItem, ItemScores
from service.answers.explainers.explainer import AnsweredItem, Explainer, ExplanationPlan
from service.answers.explanation import ExplanationTooLong, ExplanationUnit
from service.answers.model import LoadedModel
from service.engine.futures import one_by_one, then
from service.engine.submission import EngineResult


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The settings that all runs of one request have in common."""

    unit: ExplanationUnit
    deadline: float | None
    """On the clock of `time.monotonic`."""
    tenant: str = ""


def answer_items(
    model: LoadedModel, items: Sequence[EncodedItem], computed: EngineResult, settings: RunSettings
) -> list[AnsweredItem]:
    """The predictions for items whose rows are computed; raises BrokenModel where an output is not finite."""
    model.refuse_broken(computed.rows)
    rows = iter(computed.rows)
    answered = []
    for item in items:
        arrays = [next(rows) for _ in item.encoded.rows]
        answered.append(
            AnsweredItem(
                model=model,
                item=item,
                prediction=model.predict(arrays, item),
                arrays=arrays,
                unit=settings.unit,
            )
        )
    return answered


def score_items(
    explainer: Explainer, model: LoadedModel, answered: Sequence[AnsweredItem], settings: RunSettings
) -> Future[list[ItemScores | ExplanationTooLong]]:
    """The scores of each item, or the reason why it has none.

    The request was let into the queue with its first rows, so the further rows are let in even where the queue is full.
    The future may hold BrokenModel, DeadlineExceeded or EngineClosed; when it is cancelled, the rows that still wait
    are not computed.
    """
    if not explainer.is_background:
        return _score_together(explainer, model, answered, settings)
    # One item's rows at a time: to plan all at once would keep a thread from ordinary rows, and memory from others.
    starts = (partial(_score_together, explainer, model, [one], settings) for one in answered)
    return then(one_by_one(starts), lambda of_items: list(chain.from_iterable(of_items)))


def _score_together(
    explainer: Explainer, model: LoadedModel, answered: Sequence[AnsweredItem], settings: RunSettings
) -> Future[list[ItemScores | ExplanationTooLong]]:
    # The plans keep what they need of the first run; its other arrays need not wait for further rows.
    plans = [_plan(explainer, one) for one in answered]
    rows = [row for plan in plans if isinstance(plan, ExplanationPlan) for row in plan.rows]

    def finish(computed: EngineResult) -> list[ItemScores | ExplanationTooLong]:
        model.refuse_broken(computed.rows)
        return list(_finish(plans, iter(computed.rows)))

    submitted = model.submit(
        rows,
        explainer.further_outputs,
        deadline=settings.deadline,
        tenant=settings.tenant,
        admitted=True,
        background=explainer.is_background,
    )
    return then(submitted, finish)


def _plan(explainer: Explainer, answered: AnsweredItem) -> ExplanationPlan | ExplanationTooLong:
    try:
        return explainer.plan(answered)
    except ExplanationTooLong as reason:
        # Without its frames, which hold the whole request and would be kept by what they hold.
        return reason.with_traceback(None)


def _finish(
    plans: Sequence[ExplanationPlan | ExplanationTooLong], arrays: Iterator[Arrays]
) -> Iterator[ItemScores | ExplanationTooLong]:
    for plan in plans:
        if isinstance(plan, ExplanationTooLong):
            yield plan
        else:
            yield plan.finish([next(arrays) for _ in plan.rows])
