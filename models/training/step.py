"""One step of training: losses of the method, gradients over all batches and processes, clipping, and the update."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.data import Example
from models.networks.batches import collate
from models.networks.heads import HEAD_TRAINING
from models.robust.method import Method, StepContext, StepResult
from models.robust.noisy_step import noisy_losses
from models.training.copying import CopiedRows
from models.training.noise import read_versions, strength_of
from models.training.run import Run
from models.training.settings import TrainingError


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """The batches of one step, and where in the run it stands."""

    batches: Sequence[Sequence[int]]
    """Indices of the examples of each batch; the step takes the mean of their gradients."""
    step: int
    """Number of the step in the run, from 0."""
    learning_rate: float
    share_done: float
    """Share of this training's steps that have been taken."""


def learning_rate_factor(step: int, steps: int, warmup_share: float) -> float:
    """Share of the full learning rate for step `step` of `steps`, from 0: a linear rise, then a linear fall to 0."""
    warmup = int(steps * warmup_share)
    if step < warmup:
        return (step + 1) / warmup
    return (steps - step) / max(steps - warmup, 1)


def make_context(run: Run, batch: int, share_done: float) -> StepContext:
    """The context of the method's step number `batch`, counted over all accumulated batches."""
    return StepContext(
        encoder=run.encoder,
        task_loss=HEAD_TRAINING[run.task.head].loss,
        seed=run.settings.seed,
        step=batch,
        share_done=share_done,
        say=run.watcher.say,
        process=run.replicas.number,
    )


def take_step(
    run: Run, examples: Sequence[Example], plan: StepPlan, copies: Iterator[CopiedRows | None]
) -> dict[str, float]:
    """Train on the batches of one step; the losses and scalars, means over their rows.

    `copies` has the noisy copies of each batch, in the order of the batches.

    Raises:
        TrainingError: a loss, a scalar or a gradient is not finite; the weights stay as they were.
    """
    reported = _add_gradients(run, examples, plan, copies)
    groups = run.optimizer.param_groups
    run.replicas.sum_gradients(parameter for group in groups for parameter in group["params"])
    reported = run.replicas.sum_values(reported)
    norms = clip_groups(run.optimizer, run.settings.clip_norm)
    if not all(map(math.isfinite, [*reported.values(), *norms])):
        run.optimizer.zero_grad()
        raise TrainingError(
            f"step {plan.step}: the loss or its gradient is not finite ({reported}); lower the learning rate, and "
            f"remove {run.work} or choose another name with --out"
        )
    for group in groups:
        group["lr"] = plan.learning_rate * group["scale"]
    run.optimizer.step()
    run.optimizer.zero_grad()
    return reported


def _add_gradients(
    run: Run, examples: Sequence[Example], plan: StepPlan, copies: Iterator[CopiedRows | None]
) -> dict[str, float]:
    """Leave this process's part of the step's gradient in the parameters; its part of the losses and scalars."""
    pad_id, device = int(run.tokenizer.pad_token_id), run.replicas.device
    untrained = _untrained_tensors(run.method)
    reported: dict[str, float] = {}
    rows = sum(map(len, plan.batches))
    for number, indices in enumerate(plan.batches):
        share, counted = run.replicas.take_share(indices)
        # As wide as the whole batch, since some methods count padding.
        width = max(len(row) for index in indices for row in examples[index].encoded.rows)
        batch = collate(examples, share, run.task.head, pad_id, device, width)
        context = make_context(run, plan.step * run.settings.accumulate + number, plan.share_done)
        run.replicas.separate_draws(run.settings.seed, context.step)
        text, versions = read_versions(batch, [examples[index] for index in share], run.task.head, next(copies))
        parts = noisy_losses(run.method, context, run.task.head, strength_of(run.settings.noise), text, versions)
        for result in _computed(parts, run):
            # Each batch weighs as its rows do, so that accumulated gradients equal those of one big batch.
            (_total(result) * (counted / rows)).backward()  # type: ignore[no-untyped-call]
            for name, value in _values(result).items():
                reported[name] = reported.get(name, 0.0) + value * counted / rows
        run.replicas.average(untrained, counted / len(indices))
    return reported


def _computed(parts: Iterator[StepResult], run: Run) -> Iterator[StepResult]:
    """The parts of a step's losses, each computed in the run's precision; gradients are taken outside of it."""
    while True:
        with torch.autocast(run.replicas.device.type, torch.bfloat16, enabled=run.settings.uses_bf16):
            result = next(parts, None)
        if result is None:
            return
        yield result


def _untrained_tensors(method: Method) -> list[Tensor]:
    """The tensors that a method changes by itself: buffers, and parameters that the loop does not train."""
    trained = {id(parameter) for group in method.parameter_groups() for parameter in group.parameters}
    return [tensor for tensor in (*method.parameters(), *method.buffers()) if id(tensor) not in trained]


def _total(result: StepResult) -> Tensor:
    return torch.stack([loss.weight * loss.value for loss in result.losses.values()]).sum()


def _values(result: StepResult) -> dict[str, float]:
    return {name: float(loss.value.detach()) for name, loss in result.losses.items()} | dict(result.scalars)


def clip_groups(optimizer: torch.optim.Optimizer, norm: float) -> list[float]:
    """Clip each clip group on its own to `norm`; the norms from before clipping."""
    together: dict[str, list[nn.Parameter]] = {}
    for group in optimizer.param_groups:
        together.setdefault(group["clip_group"], []).extend(group["params"])
    return [float(nn.utils.clip_grad_norm_(parameters, norm)) for parameters in together.values()]
