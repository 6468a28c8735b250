"""Token scores that take apart the sum of logits which speaks for an answer, as the graph itself computes them.

They follow DecompX (Modarressi et al. 2023); `models.measuring.decomposition` says how.
"""

import numpy as np

from export.package import Manifest
from models.tasks.task import AnswerPart, contrast
from models.text import Target
from service.answers.explainers.explainer import AnsweredItem, ExplanationPlan
from service.answers.explainers.graph_output import has_output, plan_reading
from service.answers.model import LoadedModel

OUTPUT = "decomposition"


class Decomposition:
    """The explainer whose token scores add up, with a rest, to the sum of logits that speaks for the answer.

    Where each row has one logit for each label, the run of the predictions explains the label asked for, or else the
    one that the row predicts. A window that predicts another label than the whole text is run again, and so is every
    row of an answer that stands at tokens or was chosen, because only the prediction says which logits speak for it.
    """

    further_outputs = (OUTPUT,)
    is_background = False

    def is_offered(self, manifest: Manifest) -> bool:
        """Whether the graph has the output."""
        return has_output(manifest, OUTPUT)

    def outputs(self, model: LoadedModel) -> tuple[str, ...]:
        """The output, where a row has one logit for each label."""
        return (OUTPUT,) if model.task.head == "sequence-classification" else ()

    def plan(self, answered: AnsweredItem) -> ExplanationPlan:
        """Read off the first run what it explained, and have the rest explained by a second run."""

        def is_known(part: AnswerPart, row: int) -> bool:
            return OUTPUT in answered.arrays[row] and _explained(answered, row) == part.target

        return plan_reading(answered, OUTPUT, is_known, [answered.y(part) for part in answered.prediction.parts])


def _explained(answered: AnsweredItem, row: int) -> Target:
    """The sum of logits that the first run explained in a row."""
    logits = answered.arrays[row]["logits"]
    return answered.item.encoded.rows[row].target or contrast(int(np.argmax(logits)), len(logits))
