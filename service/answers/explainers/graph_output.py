"""Token scores that the graph itself gives, as an output that shares 1 among the tokens of a row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from export.package import Manifest, ShareOutput
from export.session import Arrays
from models.tasks.task import AnswerPart
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
    is_background = False

    @property
    def further_outputs(self) -> tuple[str, ...]:
        """The output."""
        return (self.name,)

    def is_offered(self, manifest: Manifest) -> bool:
        """Whether the graph has the output."""
        return has_output(manifest, self.name)

    def outputs(self, model: LoadedModel) -> tuple[str, ...]:
        """The output, where it is read at the first token."""
        return () if model.reads_anywhere else (self.name,)

    def plan(self, answered: AnsweredItem) -> ExplanationPlan:
        """Read the output off the first run, or have each part's rows read again at the token of the part."""
        return plan_reading(
            answered, self.name, lambda *_: not answered.model.reads_anywhere, [None] * len(answered.prediction.parts)
        )


def has_output(manifest: Manifest, name: str) -> bool:
    """Whether the graph of a package has an output of this name."""
    return any(tensor.name == name for tensor in manifest.outputs)


def plan_reading(
    answered: AnsweredItem,
    output: str,
    is_known: Callable[[AnswerPart, int], bool],
    y: Sequence[float | None],
) -> ExplanationPlan:
    """Take an output of the graph for each row of each part: off the first run where that is known, or by a second run.

    `is_known` takes a part and the number of a row; `y` is the sum of logits of each part, if the output takes one
    apart. In a second run the rows are read at the token, and explained for the target, of their part.

    Raises:
        ExplanationTooLong: the second run would take more tokens than an item may have.
    """
    parts, arrays = answered.prediction.parts, answered.arrays
    known = [[arrays[row][output] if is_known(part, row) else None for row in part.rows] for part in parts]
    again = [
        replace(answered.item.encoded.rows[row], read_at=part.read_at, target=part.target)
        for part, of_part in zip(parts, known, strict=True)
        for row, scores in zip(part.rows, of_part, strict=True)
        if scores is None
    ]
    _refuse_too_long(again, answered)

    def finish(computed: Sequence[Arrays]) -> ItemScores:
        further = iter(computed)
        return [
            RowScores([next(further)[output] if scores is None else scores for scores in of_part], of_y)
            for of_part, of_y in zip(known, y, strict=True)
        ]

    return ExplanationPlan(again, finish)


def _refuse_too_long(rows: Sequence[Row], answered: AnsweredItem) -> None:
    tokens, most = sum(map(len, rows)), answered.model.reader.limits.max_item_tokens
    if tokens > most:
        raise ExplanationTooLong(
            f"to explain {len(answered.prediction.parts):,} parts of the answer takes {tokens:,} tokens, and at most "
            f"{most:,} are computed; split the text"
        )
