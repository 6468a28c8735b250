"""A process that answers blocks of records with a package of its own, for an engine that has many of them."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from export.package import Precision
from models.errors import UserError
from service.answers.opening import open_as_set
from service.answers.predictor import Predictor
from service.outcomes.columns import WantedColumns
from service.outcomes.engines.blocks import Block
from service.outcomes.engines.local import compute
from service.outcomes.outcome import Outcome
from service.settings import Settings


class OtherPackage(UserError):
    """A machine has another package than the one that the command was given."""


@dataclass(frozen=True, kw_only=True)
class WorkerOrder:
    """The package that a worker opens, and what it computes with it."""

    endpoint: str
    settings: Settings
    """Those of the command, but for one thread, one package and no keys."""
    digest: str
    """That of the package, which lies in the same folder on every machine."""
    precision: Precision
    """That of the graph that answers."""
    wanted: WantedColumns

    @classmethod
    def of(cls, predictor: Predictor, settings: Settings, wanted: WantedColumns) -> Self:
        """An order for what `predictor` does, which was opened with these settings."""
        package = predictor.package
        changes = {"packages": (package.folder.resolve(),), "threads": 1, "api_keys": (), "admin_keys": ()}
        return cls(
            endpoint=package.task.endpoint,
            settings=settings.model_copy(update=changes),
            digest=predictor.name.digest,
            precision=predictor.name.precision,
            wanted=wanted,
        )


class Worker:
    """Answers one block after the other on one core."""

    def __init__(self, order: WorkerOrder) -> None:
        """Hear what is to be done; `begin` comes first."""
        self._order = order
        self._opened = ExitStack()
        self._predictor: Predictor

    def begin(self) -> None:
        """Open the package.

        Raises:
            PackageError: it is not there.
            OtherPackage: it is not the one that the command has.
        """
        order = self._order
        self._predictor = self._opened.enter_context(open_as_set(order.endpoint, order.settings))
        found = self._predictor.name.digest
        if found != order.digest:
            raise OtherPackage(
                f"{order.settings.packages[0]}: has the digest {found} on another machine, but {order.digest} here; "
                "copy the package there, to the same path"
            )
        precision = self._predictor.name.precision
        if precision != order.precision:
            raise OtherPackage(
                f"{order.settings.packages[0]}: answers in {precision} on another machine, but in {order.precision} "
                "here, for int8 gives other answers on one of them; use machines with processors of one kind"
            )

    def answer(self, block: Block) -> list[Outcome]:
        """The outcome of each record, in their order."""
        return list(compute(self._predictor, block.records, self._order.wanted))
