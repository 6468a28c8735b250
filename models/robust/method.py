"""What every training method is, so that neither the loop nor the tasks know which one is running."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from models.tasks.task import Head


class MethodSettings(BaseModel):
    """A method's own settings, as in a TOML table or `--set NAME=VALUE`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Extra parameters with their own share of the learning rate and their own clipping.

    They are never clipped together with the encoder: an adversary's gradient can be hundreds of times the encoder's,
    and one norm over both would freeze the encoder.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    learning_rate_scale: float = 1.0
    weight_decay: float | None = None
    """None: as the encoder's."""


@dataclass(frozen=True)
class WeightedLoss:
    """A term of the loss; the loop adds `weight * value` over all terms."""

    value: Float[Tensor, ""]
    weight: float = 1.0


@dataclass(frozen=True)
class StepResult:
    """What a step returns: losses, never parameter gradients. The loop adds, scales, accumulates, clips and steps."""

    losses: Mapping[str, WeightedLoss]
    scalars: Mapping[str, float] = field(default_factory=dict)
    """Things worth a look in the log."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a method is built for."""

    encoder: Encoder
    head: Head
    tokenizer: PreTrainedTokenizerFast
    seed: int
    """For draws of its own: torch's own stream is plain training's."""
    examples: int
    """How many there are to train on; the size of buffers that hold something for each."""
    max_tokens: int
    """Longest row in training."""
    epochs: int
    """Of one training; a soup's trainings follow each other and their epochs count on."""
    score_range: tuple[float, float] | None
    """Lowest and highest score, where the answer is one."""
    unlabelled: Sequence[Example] = ()
    """Texts to learn from without right answers, for a method that does."""


def _say_nothing(line: str) -> None:
    """For steps that nobody watches."""
    del line


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What a method may use during a step."""

    encoder: Encoder
    task_loss: TaskLoss
    seed: int
    step: int
    """Batches used so far: what the random draws of further passes depend on."""
    progress: float = 0.0
    """Share of this training's steps that are done."""
    say: Callable[[str], None] = _say_nothing
    """Tells whoever watches the run."""
    process: int = 0
    """Which of several processes this is; each takes its share of the batch."""

    @contextmanager
    def extra_pass(self, number: int = 0) -> Iterator[None]:
        """Random draws of its own for any pass after the first, so that plain training's stream is left as it was.

        The draws depend on the seed, the step, the pass's number within the step and the process alone.
        """
        device = next(self.encoder.parameters()).device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed((self.process << 56) + (self.seed * 1_000_003 + self.step) * 8 + number)
            yield

    def gradients(self, loss: Float[Tensor, ""], tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Gradients of `loss` with respect to `tensors`, each of its tensor's shape, detached and in float32.

        The graph is kept and no parameter's `.grad` is touched.

        Raises:
            RuntimeError: `loss` does not depend on one of `tensors`.
        """
        found = torch.autograd.grad(loss, list(tensors), retain_graph=True)
        return tuple(gradient.detach().float() for gradient in found)


class Method(nn.Module, ABC):
    """A way to train. Its own parameters live here, never under the encoder's names, so export leaves them out.

    Subclasses give `step`; the rest changes nothing unless overridden. What must survive a restart is a parameter or a
    buffer: the loop saves and restores both. A checkpoint keeps the parameters alone. On several processes, what of it
    the loop does not train itself is averaged over them after each batch where it is of floating point, and must come
    out the same everywhere else.
    """

    @abstractmethod
    def step(self, batch: Batch, context: StepContext) -> StepResult:
        """Losses of one batch. The first forward pass is the plain one, with plain training's random draws."""

    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """The method's own parameters, to be trained beside the encoder's."""
        return ()

    def before_epoch(self, examples: Sequence[Example], epoch: int, context: StepContext) -> Sequence[Example]:
        """The examples of this epoch, a pure function of the examples, the epoch (from 1), the weights and the seed.

        The encoder is in evaluation mode. A run that goes on within an epoch asks again, with the weights of the step
        it goes on from: what was made with the weights at the epoch's start must be kept in buffers and given back.
        """
        del epoch, context
        return examples

    def served(self, encoder: Encoder) -> Encoder:
        """What this training makes of `encoder`, as it is measured and served; the encoder itself unless overridden.

        A method that overrides this has a line in `models.networks.loading.SERVED_FORMS`, whose function puts the same
        on a checkpoint's model.
        """
        return encoder
