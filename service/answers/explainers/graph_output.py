"""Token scores that the graph itself gives, as an output that shares 1 among the tokens of a row."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from export.package import Manifest, ShareOutput
from export.session import Arrays
from models.text import Row
from service.answers.batch import ItemTokenScores
from service.answers.errors import NotOffered
from service.answers.explainers.explainer import FirstRun
from service.answers.model import LoadedModel
from service.engine.futures import settled, then


@dataclass(frozen=True)
class GraphOutput:
    """The explainer whose token scores are the output `name` of the graph.

    Most graphs read it at the first token, and the run of the predictions computes it as well. Where answers stand at
    tokens of their own, only the predictions say at which, and a second run reads it there.
    """

    name: ShareOutput

    def is_offered(self, manifest: Manifest) -> bool:
        """Whether the graph has the output."""
        return any(tensor.name == self.name for tensor in manifest.outputs)

    def outputs(self, model: LoadedModel) -> tuple[str, ...]:
        """The output, where it is read at the first token."""
        return () if model.reads_anywhere else (self.name,)

    def score(self, first: FirstRun) -> Future[list[ItemTokenScores]]:
        """The output for each part of each prediction; raises NotOffered where a second run would be too long."""
        if not first.model.reads_anywhere:
            return settled(
                [
                    [[arrays[row][self.name] for row in part.rows] for part in prediction.parts]
                    for prediction, arrays in zip(first.predictions, first.arrays, strict=True)
                ]
            )
        rows = list(_rows_read_at_parts(first))
        _refuse_too_long(rows, first)
        predictions = first.predictions

        def by_part(computed: Sequence[Arrays]) -> list[ItemTokenScores]:
            arrays = iter(computed)
            return [
                [[next(arrays)[self.name] for _ in part.rows] for part in prediction.parts]
                for prediction in predictions
            ]

        return then(first.run_again(rows, (self.name,)), by_part)


def _rows_read_at_parts(first: FirstRun) -> Iterator[Row]:
    """The rows of each part of each prediction, to be read at the token of the part."""
    for item, prediction in zip(first.items, first.predictions, strict=True):
        for part in prediction.parts:
            for row in part.rows:
                yield replace(item.encoded.rows[row], read_at=part.read_at)


def _refuse_too_long(rows: Sequence[Row], first: FirstRun) -> None:
    tokens = sum(map(len, rows))
    if tokens > first.model.reader.limits.max_item_tokens * len(first.items):
        raise NotOffered(
            f"{len(rows):,} answers to explain would take {tokens:,} tokens; leave `explain` out, or split the text"
        )
