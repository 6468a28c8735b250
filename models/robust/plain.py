"""Plain fine-tuning: the task's loss and nothing else. Every other method is measured against it."""

from models.networks.encoder import Batch
from models.robust.method import BuildContext, Method, MethodSettings, StepContext, StepResult, WeightedLoss


class PlainSettings(MethodSettings):
    """Plain training has no settings."""


class Plain(Method):
    """Takes one pass and the task's loss."""

    def step(self, batch: Batch, context: StepContext) -> StepResult:
        """The task loss of the plain pass."""
        loss = context.task_loss(context.encoder(batch).logits, batch.targets)
        return StepResult(losses={"task": WeightedLoss(loss)})


def build(settings: PlainSettings, context: BuildContext) -> Plain:
    """Plain training, which needs no settings and no context."""
    del settings, context
    return Plain()
