"""Decomposes a sum of logits into a share for every token and one for the biases: the reference in eager torch.

After DecompX (Modarressi et al. 2023, "DecompX: Explaining Transformers Decisions by Propagating Token Decomposition",
arXiv 2306.02873, section 3). The factors by which a network scales its states are held as they are for a row: attention
probabilities, LayerNorm's inverse standard deviations, the slopes act(h) / h of activations, a gate's weights. What is
left is linear in the embeddings, up to its biases, so a token's share is its embedding times the gradient of the sum.

Departures: the paper carries a vector for every token forward through the layers, where one backward pass gives the
same for a single sum of logits. The paper spreads biases over the tokens; here they keep a share of their own. The
LSTM is not in the paper: its gates are held like attention, and its two tanh like other activations. Nor are gated
linear units, act(a) * b: act(a) is held like a gate, so that all that they pass on is a share of b.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.overrides import TorchFunctionMode
from transformers.activations import ACT2CLS

from models.networks.encoder import read_logits
from models.networks.families import find_family
from models.networks.hooks import evaluating, replaced_forward
from models.tasks.task import Head

MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")

ACTIVATIONS: tuple[type[nn.Module], ...] = tuple(
    named[0] if isinstance(named, tuple) else named for named in ACT2CLS.values()
)
"""The classes of transformers' activations."""

WEIGHTS = frozenset({torch.softmax, torch.Tensor.softmax, F.softmax, torch.sigmoid})
"""Functions whose results weigh or gate other states. They are held whole."""

SLOPED = frozenset({torch.tanh, F.gelu, F.relu})
"""Activations that a model or our LSTM calls as a function, or makes for one call. Their slopes are held."""

Change = Callable[[Float[Tensor, "batch sequence width"]], Float[Tensor, "batch sequence width"]]


@dataclass(frozen=True, kw_only=True)
class Decomposition:
    """The shares of `y`, in units of a logit; a row's relevances and its biases add up to it, up to rounding."""

    relevances: Float[Tensor, "batch sequence"]
    """Signed share of each token, special tokens included; exactly 0 on padding."""
    biases: Float[Tensor, " batch"]
    """The share that no token brings: `y` of the linear network without embeddings."""
    y: Float[Tensor, " batch"]
    """The sum of logits that is explained."""


def decompose(
    model: Any, head: Head, tensors: Mapping[str, Shaped[Tensor, "batch ..."]], target: Float[Tensor, "batch ..."]
) -> Decomposition:
    """Decompose y = sum(logits * target), with `target` in the shape of the logits; in multiple choice a row has one.

    The model is one that `load_served` gives. Of `tensors` it takes the ids, the mask and the segments, [batch,
    sequence] each; a graph's further inputs may stand beside them. `target` is 0 on padding. An embedding is the sum of
    a token's word, position and segment vectors before their LayerNorm, or a BiLSTM's word vector. Dropout is off. The
    model stays as it was, gradients included. Callers may be under `no_grad` or `inference_mode`; the result has no
    graph.

    Raises:
        ValueError: `target` has another shape than the logits, or the model's attention is not eager.
    """
    with torch.inference_mode(False), torch.enable_grad(), evaluating(model):
        # Clones of a caller's inference tensors are ordinary tensors.
        inputs = {name: tensors[name].clone() for name in MODEL_INPUTS if name in tensors}
        target = target.clone()
        factors = _HeldFactors()
        taken: list[Tensor] = []

        def take(embeddings: Tensor) -> Tensor:
            taken.append(embeddings.detach().requires_grad_())
            return taken[-1]

        y = _explained(_run(model, head, inputs, factors, take), target)
        (embeddings,) = taken
        # In evaluation mode rows do not depend on each other, so the gradient of their sum is each row's own.
        (gradient,) = torch.autograd.grad(y.sum(), embeddings)
        factors.rewind()
        with torch.no_grad():
            biases = _explained(_run(model, head, inputs, factors, torch.zeros_like), target)
            relevances = (embeddings * gradient).sum(-1)
    return Decomposition(relevances=relevances, biases=biases, y=y.detach())


def default_target(logits: Float[Tensor, "batch labels"]) -> Float[Tensor, "batch labels"]:
    """The target that explains each row's predicted label: 1 there, -1/(K-1) at the other K-1 labels.

    A single logit is explained itself. Of equal logits the first counts.
    """
    others = torch.full_like(logits, -1 / max(logits.shape[1] - 1, 1))
    return others.scatter(1, logits.argmax(1, keepdim=True), 1.0)


def _explained(logits: Tensor, target: Tensor) -> Tensor:
    if logits.shape != target.shape:
        raise ValueError(f"target has shape {tuple(target.shape)}; the logits have {tuple(logits.shape)}")
    return (logits * target).flatten(1).sum(1)


def _run(model: Any, head: Head, inputs: Mapping[str, Tensor], factors: "_HeldFactors", change: Change) -> Tensor:
    """Logits of the network with these factors; its embeddings are what `change` makes of the model's."""
    if head == "multiple-choice":
        inputs = {name: tensor[:, None] for name, tensor in inputs.items()}
    gates = set(find_family(model.config).gates(model.base_model))
    with ExitStack() as changes:
        changes.enter_context(_changed_embeddings(model, change))
        for module in model.modules():
            if module in gates:
                changes.enter_context(replaced_forward(module, partial(factors.gate, module.forward)))
            elif isinstance(module, ACTIVATIONS):
                changes.enter_context(replaced_forward(module, partial(factors.scale, module.forward)))
            elif isinstance(module, nn.LSTM):
                changes.enter_context(replaced_forward(module, partial(_run_in_steps, module)))
        changes.enter_context(factors)
        return read_logits(model(**inputs))


class _HeldFactors(TorchFunctionMode):
    """Takes the factors of a first pass and uses them again, in the same order, in a pass after `rewind`.

    While it is entered, the outputs of `WEIGHTS`, the slopes of activations and the scales of LayerNorm are constants.
    """

    def __init__(self) -> None:
        super().__init__()
        self._factors: list[Tensor] = []
        self._place: int | None = None
        self._passes_through = False

    def rewind(self) -> None:
        """Use the factors from the first on."""
        self._place = 0

    def __torch_function__(
        self, func: Any, types: Collection[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # Torch leaves the mode while this method runs.
        call = partial(func, *args, **(kwargs or {}))
        if self._passes_through:
            return call()
        if func in WEIGHTS:
            return self._hold(call)
        if func in SLOPED:
            return self.scale(partial(func, **(kwargs or {})), *args)
        if func is F.layer_norm:
            return self._normalise(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            raise ValueError("fused attention has no probabilities to hold; load the model in eager attention")
        return call()

    def scale(self, activation: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
        """States times their slopes, activation(h) / h; at 0 the slope is its limit, 1 for tanh and 1/2 for GELU."""

        def slopes() -> Tensor:
            beside = torch.where(states == 0, torch.finfo(states.dtype).eps, states)
            return activation(beside) / beside

        return states * self._hold(slopes)

    def gate(self, activation: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
        """activation(h), by which a layer multiplies other states; it is held whole."""
        return self._hold(partial(activation, states))

    def _normalise(
        self,
        states: Tensor,
        shape: Sequence[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor:
        """LayerNorm with a constant standard deviation; the mean stays a function of the states."""
        axes = tuple(range(-len(shape), 0))
        centred = states - states.mean(axes, keepdim=True)
        normal = centred * self._hold(lambda: (centred.square().mean(axes, keepdim=True) + eps).rsqrt())
        scaled = normal if weight is None else normal * weight
        return scaled if bias is None else scaled + bias

    def _hold(self, compute: Callable[[], Tensor]) -> Tensor:
        if self._place is not None:
            self._place += 1
            return self._factors[self._place - 1]
        # An activation of transformers may be made of functions that would else be held one by one.
        self._passes_through = True
        try:
            self._factors.append(compute().detach())
        finally:
            self._passes_through = False
        return self._factors[-1]


def _run_in_steps(lstm: nn.LSTM, packed: PackedSequence) -> tuple[PackedSequence, None]:
    """The states of a bidirectional LSTM with one layer, computed by operations whose factors can be held."""
    inputs, lengths = pad_packed_sequence(packed, batch_first=True)
    inside = torch.arange(inputs.shape[1])[None, :] < lengths[:, None]
    inside = inside.to(inputs)[:, :, None]
    states = torch.cat([_run_direction(lstm, inputs, inside, backwards=back) for back in (False, True)], dim=-1)
    return pack_padded_sequence(states, lengths, batch_first=True, enforce_sorted=False), None


def _run_direction(
    lstm: nn.LSTM,
    inputs: Float[Tensor, "batch sequence in"],
    inside: Float[Tensor, "batch sequence 1"],
    *,
    backwards: bool,
) -> Float[Tensor, "batch sequence out"]:
    """One direction's states; after a row's last input they are 0, so that the backward direction starts there."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ending = "_l0_reverse" if backwards else "_l0"
    of_input, of_state, *biases = (lstm.get_parameter(name + ending) for name in names)
    entering = inputs @ of_input.T + sum(biases)
    state = cell = inputs.new_zeros(len(inputs), lstm.hidden_size)
    states: dict[int, Tensor] = {}
    steps = range(inputs.shape[1])
    for step in reversed(steps) if backwards else steps:
        i, f, candidate, o = (entering[:, step] + state @ of_state.T).chunk(4, dim=-1)
        cell = inside[:, step] * (torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(candidate))
        states[step] = state = inside[:, step] * torch.sigmoid(o) * torch.tanh(cell)
    return torch.stack([states[step] for step in steps], dim=1)


@contextmanager
def _changed_embeddings(model: Any, change: Change) -> Iterator[None]:
    """Put what `change` makes of the embeddings in their place."""
    norm = find_family(model.config).embedding_norm(model.base_model)
    if norm is not None:
        handle = norm.register_forward_pre_hook(lambda _, args: (change(args[0]),))
    else:
        words = model.base_model.get_input_embeddings()
        handle = words.register_forward_hook(lambda *given: change(given[-1]))
    try:
        yield
    finally:
        handle.remove()
