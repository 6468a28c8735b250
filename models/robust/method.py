"""The interface of every training method, so that neither the loop nor the tasks know which one is running."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from models.data import Example
from models.networks.encoder import Batch, Encoder
from models.networks.heads import TaskLoss
from models.progress import Say
from models.tasks.task import Head


class MethodSettings(BaseModel):
    """A method's own settings, from a TOML table or from `--set NAME=VALUE`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Extra parameters with their own share of the learning rate and their own clipping.

    They are never clipped together with the encoder's: an adversary's gradient can be hundreds of times the encoder's,
    and clipping both by one norm would freeze the encoder.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    learning_rate_scale: float = 1.0
    weight_decay: float | None = None
    """Weight decay of these parameters; None stands for the encoder's."""


@dataclass(frozen=True)
class WeightedLoss:
    """A term of the loss; the loop adds `weight * value` over all terms."""

    value: Float[Tensor, ""]
    weight: float = 1.0


@dataclass(frozen=True)
class StepResult:
    """The losses of one step, never parameter gradients. The loop adds, scales, accumulates, clips and steps."""

    losses: Mapping[str, WeightedLoss]
    scalars: Mapping[str, float] = field(default_factory=dict)
    """Further numbers that are shown and recorded beside the losses."""
    logits: Float[Tensor, "batch ..."] | None = None
    """The logits that the task's loss was taken of; None where they are those of the step's first pass."""


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """The encoder, the data and the settings that a method is built for."""

    encoder: Encoder
    head: Head
    tokenizer: PreTrainedTokenizerFast
    seed: int
    """Seed of the method's own random draws; torch's stream belongs to plain training."""
    example_count: int
    """Number of training examples: the size of buffers that hold something for each."""
    max_tokens: int
    """Length of the longest row in training."""
    epochs: int
    """Epochs of one training. In a soup the trainings follow each other, and epoch numbers go on."""
    score_range: tuple[float, float] | None
    """Lowest and highest score; None where the answer is a label."""
    unlabelled: Sequence[Example] = ()
    """Texts without right answers, for a method that learns from them."""


def _stay_silent(line: str) -> None:
    """Take the place of a callback where nobody watches."""
    del line


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """Everything that a method may use during a step."""

    encoder: Encoder
    task_loss: TaskLoss
    seed: int
    step: int
    """Number of batches used so far; the random draws of further passes depend on it."""
    share_done: float = 0.0
    """Share of this training's steps that have been taken."""
    say: Say = _stay_silent
    process: int = 0
    """Number of this process, from 0, among those that share each batch."""

    @contextmanager
    def extra_pass(self, number: int = 0) -> Iterator[None]:
        """Give a pass after the first random draws of its own, so that plain training's stream stays as it was.

        The draws depend only on the seed, the step, the pass's number within the step and the process.
        """
        device = next(self.encoder.parameters()).device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed((self.process << 56) + (self.seed * 1_000_003 + self.step) * 8 + number)
            yield

    def gradients(self, loss: Float[Tensor, ""], tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Gradients of `loss` with respect to `tensors`, detached and in float32.

        The graph is kept, and no parameter's `.grad` is touched.

        Raises:
            RuntimeError: `loss` does not depend on one of `tensors`.
        """
        found = torch.autograd.grad(loss, list(tensors), retain_graph=True)
        return tuple(gradient.detach().float() for gradient in found)


class Method(nn.Module, ABC):
    """A way to train. Its own parameters live here, never under the encoder's names, so export leaves them out.

    Subclasses define `step`; the other methods change nothing unless overridden. Everything that must survive a restart
    is a parameter or a buffer, since the loop saves and restores both. A checkpoint keeps only the parameters.

    Some of these tensors are not trained by the loop. On several processes, the loop averages them after each batch if
    they hold floats; other tensors must come out the same in every process.
    """

    @abstractmethod
    def step(self, batch: Batch, context: StepContext) -> StepResult:
        """Losses of one batch. The first forward pass is that of plain training, with the same random draws."""

    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """The method's own parameters, which the loop trains beside the encoder's."""
        return ()

    def before_epoch(self, examples: Sequence[Example], epoch: int, context: StepContext) -> Sequence[Example]:
        """The examples of this epoch, a pure function of the examples, the epoch (from 1), the weights and the seed.

        The encoder is in evaluation mode. A run that goes on within an epoch calls this again, with the weights of the
        step that it goes on from. So examples made with the weights at the epoch's start must be kept in buffers.
        """
        del epoch, context
        return examples

    def served(self, encoder: Encoder) -> Encoder:
        """The model that is measured and served for `encoder`: the encoder itself, unless overridden.

        A method that overrides this has a line in `models.networks.loading.SERVED_FORMS`, whose function puts the same
        on a checkpoint's model.
        """
        return encoder
