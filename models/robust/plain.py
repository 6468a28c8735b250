"""Plain fine-tuning: the task's loss and nothing else. What every other method is measured against."""

from models.networks.encoder import Batch
from models.robust.method import BuildContext, Method, MethodSettings, StepContext, StepResult, WeightedLoss


class PlainSettings(MethodSettings):
    """Nothing to set."""


class Plain(Method):
    """One pass, one loss."""

    def step(self, batch: Batch, context: StepContext) -> StepResult:
        """The task loss of the plain pass."""
        loss = context.task_loss(context.encoder(batch).logits, batch.targets)
        return StepResult(losses={"task": WeightedLoss(loss)})


def build(settings: PlainSettings, context: BuildContext) -> Plain:
    """Plain training needs to know nothing."""
    del settings, context
    return Plain()
