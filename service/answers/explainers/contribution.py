"""Token scores that take apart the sum of logits which speaks for an answer, as the graph itself computes them.

`export.decomposition.contributions` says how each is made.
"""

from dataclasses import dataclass

import numpy as np

from export.package import ContributionOutput, Manifest
from models.tasks.task import AnswerPart, contrast
from models.text import Target
from service.answers.explainers.explainer import AnsweredItem, ExplanationPlan
from service.answers.explainers.graph_output import has_output, plan_reading
from service.answers.model import LoadedModel


@dataclass(frozen=True)
class ContributionScores:
    """The explainer whose token scores add up, with a rest, to the sum of logits that speaks for the answer.

    Where each row has one logit for each label, the run of the predictions explains the label asked for, or else the
    one that the row predicts. A window that predicts another label than the whole text is run again, and so is every
    row of an answer that stands at tokens or was chosen, because only the prediction says which logits speak for it.
    """

    name: ContributionOutput
    is_background = False

    @property
    def further_outputs(self) -> tuple[str, ...]:
        """The output."""
        return (self.name,)

    def is_offered(self, manifest: Manifest) -> bool:
        """Whether the graph has the output."""
        return has_output(manifest, self.name)

    def outputs(self, model: LoadedModel) -> tuple[str, ...]:
        """The output, where a row has one logit for each label."""
        return (self.name,) if model.task.head == "sequence-classification" else ()

    def plan(self, answered: AnsweredItem) -> ExplanationPlan:
        """Read off the first run what it explained, and have the rest explained by a second run."""

        def is_known(part: AnswerPart, row: int) -> bool:
            return self.name in answered.arrays[row] and _explained(answered, row) == part.target

        return plan_reading(answered, self.name, is_known, [answered.y(part) for part in answered.prediction.parts])


def _explained(answered: AnsweredItem, row: int) -> Target:
    """The sum of logits that the first run explained in a row."""
    logits = answered.arrays[row]["logits"]
    return answered.item.encoded.rows[row].target or contrast(int(np.argmax(logits)), len(logits))
