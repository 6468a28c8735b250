"""The one path from a dialect's request to answers, and the form of errors that most dialects share."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import BaseModel, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from models.errors import shorten
from models.tasks.task import Item
from service.answers.contract import Options
from service.answers.errors import ItemsRejected
from service.answers.predictor import Predictor
from service.server.context import BodyT
from service.server.endpoints import answer_items, errors_as_problems, read_in_turn, refuse_large
from service.server.metrics import Metrics
from service.server.problems import Problem
from service.server.registry import ModelRegistry
from service.settings import Settings

TEXT_CLASSIFIERS = ("sentiment", "text-classification", "multi-label-classification")
"""The endpoints that give a single text labels: where no model is named, the first for which one is served does."""


@dataclass(frozen=True)
class Answering:
    """The models of a server, as dialects ask them."""

    registry: ModelRegistry
    metrics: Metrics
    settings: Settings

    def choose_endpoint(self, endpoints: Sequence[str], model: str | None = None) -> str:
        """The first of these endpoints at which a model is served, or the model of this name.

        Raises:
            Problem: not ready, or no model at these endpoints has that name.
        """
        there = [one for one in self.registry.predictors if one.task.endpoint in endpoints]
        named = [one for one in there if model in (None, one.name.name)]
        if there and not named:
            names = ", ".join(one.name.name for one in there)
            raise Problem("model_not_found", f"no such model for this task; there are: {names}")
        return min((one.task.endpoint for one in named), key=endpoints.index, default=endpoints[0])

    def refuse_early(self, endpoint: str, size: int) -> None:
        """Raise Problem where a body of so many bytes for an endpoint is refused whatever it says."""
        refuse_large(partial(self.registry.for_endpoint, endpoint), size)

    def refuse_many(self, count: int, what: str) -> None:
        """Raise Problem where a request holds more than a server takes; `what` names them, such as "texts"."""
        most = self.settings.max_items
        if count > most:
            raise Problem("too_many_items", f"{count:,} {what}; send at most {most} in one request")

    async def read(self, kind: type[BodyT], length: int | None = None) -> BodyT:
        """The body of the current request, or its first bytes; raises Problem where it does not fit."""
        return await read_in_turn(kind, lambda: self.registry.predictors[0], length)

    async def answer(
        self, predictor: Predictor, items: Sequence[Item], name: Callable[[int], str], options: Options | None = None
    ) -> list[Any]:
        """The results of items; `name` says how the caller's body calls the item of a number.

        Raises:
            Problem: an item cannot be answered, or not now.
        """
        options = options or _OPTIONS
        with errors_as_problems():
            try:
                return (await answer_items(predictor, items, options, self.metrics)).results
            except ItemsRejected as error:
                first, more = error.rejected[0], len(error.rejected) - 1
                others = f", and {more} more" if more else ""
                raise Problem(first.reason.code, f"{name(first.index)}: {first.reason}{others}") from error


_OPTIONS = Options()


class ErrorText(BaseModel):
    """The body of an error in most protocols."""

    error: str


def write_error(problem: Problem, request_id: str) -> bytes:
    """An object whose `error` says what is wrong, as most protocols have it."""
    del request_id  # it is in the header X-Request-ID
    return ErrorText(error=problem.detail).model_dump_json().encode()


def respond_json(value: object) -> Response:
    """An answer of JSON; its floats keep every bit."""
    content = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(content, media_type="application/json")


def one_or_more(what: str) -> WrapValidator:
    """Say in one sentence what would fit, where a value is none of several kinds; pydantic tells of each kind apart."""

    def check(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        try:
            return read(value)
        except ValidationError:
            raise PydanticCustomError("one_or_more", f"must be {what}") from None

    return WrapValidator(check)


def quote(name: str) -> str:
    """A caller's name in a message, cut where it is long."""
    return repr(shorten(name))
