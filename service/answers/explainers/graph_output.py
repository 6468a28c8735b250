"""Token scores that the graph itself gives, as an output that shares 1 among the tokens of a row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from export.package import Manifest, ShareOutput
from export.session import Arrays
from models.text import Row
from service.answers.batch import ItemScores, RowScores
from service.answers.explainers.explainer import AnsweredItem, ExplanationPlan
from service.answers.explanation import ExplanationTooLong
from service.answers.model import LoadedModel


@dataclass(frozen=True)
class GraphOutput:
    """The explainer whose token scores are the output `name` of the graph.

    Most graphs read it at the first token, and the run of the predictions computes it as well. Where answers stand at
    tokens of their own, only the predictions say at which, and a second run reads it there.
    """

    name: ShareOutput

    @property
    def further_outputs(self) -> tuple[str, ...]:
        """The output."""
        return (self.name,)

    def is_offered(self, manifest: Manifest) -> bool:
        """Whether the graph has the output."""
        return any(tensor.name == self.name for tensor in manifest.outputs)

    def outputs(self, model: LoadedModel) -> tuple[str, ...]:
        """The output, where it is read at the first token."""
        return () if model.reads_anywhere else (self.name,)

    def plan(self, answered: AnsweredItem) -> ExplanationPlan:
        """Read the output off the first run, or have each part's rows read again at the token of the part."""
        parts, arrays = answered.prediction.parts, answered.arrays
        if not answered.model.reads_anywhere:
            of_parts = [[arrays[number][self.name] for number in part.rows] for part in parts]
            return ExplanationPlan((), lambda _: [RowScores(of_rows) for of_rows in of_parts])
        rows = [
            replace(answered.item.encoded.rows[number], read_at=part.read_at) for part in parts for number in part.rows
        ]
        refuse_too_long(rows, answered)
        counts = [len(part.rows) for part in parts]

        def finish(computed: Sequence[Arrays]) -> ItemScores:
            scores = iter(computed)
            return [RowScores([next(scores)[self.name] for _ in range(count)]) for count in counts]

        return ExplanationPlan(rows, finish)


def refuse_too_long(rows: Sequence[Row], answered: AnsweredItem) -> None:
    """Raise ExplanationTooLong where a second run would take more tokens than an item may have."""
    tokens, most = sum(map(len, rows)), answered.model.reader.limits.max_item_tokens
    if tokens > most:
        raise ExplanationTooLong(
            f"to explain {len(answered.prediction.parts):,} parts of the answer takes {tokens:,} tokens, and at most "
            f"{most:,} are computed; split the text"
        )
