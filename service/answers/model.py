"""One package as it is loaded to answer: what turns items into rows, rows into arrays, and arrays into predictions."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from export.package import Package
from export.prepacked import open_session
from export.providers import ProviderName
from export.session import Arrays
from models.tasks.task import Item, Prediction, contrast
from models.text import Encoded, Row, Truncation
from service.answers.batch import EncodedItem
from service.answers.errors import BrokenModel, UnknownTarget
from service.answers.unknown_words import UnknownWords
from service.engine.demand import Expectation
from service.engine.limits import EngineLimits
from service.engine.model_engine import Engine
from service.engine.pool import Pool
from service.engine.submission import EngineResult


class LoadedModel:
    """The tokenizer and the graph of one package. Safe to share between threads; call `close` when done."""

    def __init__(
        self,
        package: Package,
        limits: EngineLimits,
        pool: Pool,
        provider: ProviderName,
        cache: Path | None,
        max_occlusion_words: int,
    ) -> None:
        """Load the graph, which the threads of `pool` will run; raises as `open_session` does."""
        self.max_occlusion_words = max_occlusion_words
        """Most words of an item that are left out in turn to explain its answer."""
        self.package = package
        self.task = package.task
        self.outputs = package.manifest.meaning
        self.reader = package.reader()
        self.unknown_words = UnknownWords(self.reader.tokenizer)
        self._session = open_session(
            package.graph,
            package.graph_digest,
            # A digest of the graph does not cover weights in a second file, which the system shares anyway.
            cache=None if package.has_data_file else cache,
            pad_id=package.manifest.pad_id,
            provider=provider,
        )
        self._engine = Engine(self._session.run, limits, pool)

    @property
    def reads_anywhere(self) -> bool:
        """Whether the graph reads attention and rollout at each row's `read_at` instead of at the first token."""
        return self._session.reads_anywhere

    def encode(self, item: Item, truncation: Truncation) -> Encoded:
        """The rows of an item; raises BadInput."""
        encoded: Encoded = self.task.encode(item, self.reader, truncation)
        return encoded

    def submit(
        self,
        rows: Sequence[Row],
        outputs: tuple[str, ...],
        *,
        deadline: float | None = None,
        tenant: str = "",
        admitted: bool = False,
        background: bool = False,
    ) -> Future[EngineResult]:
        """Queue rows and return the future of their arrays; see `Engine.submit`."""
        return self._engine.submit(
            rows, outputs, deadline=deadline, tenant=tenant, admitted=admitted, background=background
        )

    def expect(self, size: int, *, deadline: float | None, tenant: str) -> Expectation:
        """Announce a request that is about to be read from `size` bytes; see `Engine.expect`."""
        return self._engine.expect(size, deadline=deadline, tenant=tenant)

    def refuse_background_overload(self, tenant: str) -> None:
        """Raise Overloaded where too many background rows wait; see the engine's method of this name."""
        self._engine.refuse_background_overload(tenant)

    def find_target(self, asked: str | int, encoded: Encoded) -> int:
        """The place of the answer that a caller asks to be explained; raises UnknownTarget."""
        if self.task.targets is None:
            raise UnknownTarget(f"{self.task.name} explains no answer but its own; leave `target` out")
        try:
            return self.task.targets.find(asked, encoded, self.outputs)
        except ValueError as error:
            raise UnknownTarget(str(error)) from error

    def aimed(self, encoded: Encoded, target: int) -> Encoded:
        """The same rows, which name the answer to explain where each row has one logit for each answer."""
        if self.task.head != "sequence-classification":
            return encoded
        weights = contrast(target, len(self.outputs.labels))
        return replace(encoded, rows=tuple(replace(row, target=weights) for row in encoded.rows))

    def predict(self, arrays: Sequence[Arrays], item: EncodedItem) -> Prediction[Any]:
        """The prediction from the logits of an item's rows, with the parts that are to be explained."""
        logits = [row["logits"] for row in arrays]
        prediction: Prediction[Any] = self.task.decode(logits, item.encoded, self.outputs)
        if item.target is None or self.task.targets is None:
            return prediction
        parts = self.task.targets.aim(item.target, prediction.parts, logits, item.encoded, self.outputs)
        return replace(prediction, parts=tuple(parts))

    def refuse_broken(self, arrays: Sequence[Arrays]) -> None:
        """Raise BrokenModel where a computed value is not a finite number."""
        if not all(np.isfinite(array).all() for row in arrays for array in row.values()):
            raise BrokenModel(f"{self.package.folder}: an output is not finite")

    def release_memory(self, row: Row) -> None:
        """Give the system back what is free of the memory that all graphs share; see the session's method."""
        self._session.release_memory(row)

    def close(self, *, drain: bool = True) -> None:
        """Stop the engine; what is queued is computed first, or fails where `drain` is False."""
        self._engine.close(drain=drain)
