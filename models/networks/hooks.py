"""Hooks on a transformers model, which add to a pass or read from it.

Every family computes one softmax in each layer when it attends eagerly, and so does our BiLSTM: that of its scores,
with the padding's bias in them already. `changed_layers` adds a bias to that softmax's argument. So no model file is
copied, no family needs a hook of its own, and no method can unmask padding.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from models.networks.families import find_family

ScoreBias = Callable[
    [Float[Tensor, "batch seq width"], Bool[Tensor, "batch seq"]], Float[Tensor, "batch #heads #query #seq"]
]
"""The state that enters a layer and the mask `Encoder.attended` -> a bias that is added to that layer's scores.

The bias may need a gradient. A BiLSTM has one row of scores. If a bias has a row for every token, the BiLSTM takes the
first row, as a head that reads the first token would.
"""

ModuleT = TypeVar("ModuleT", bound=nn.Module)
KeyT = TypeVar("KeyT")


@contextmanager
def captured_ends(model: Any) -> Iterator[dict[str, Tensor]]:
    """Yield a mapping that holds the last tensors of the model's latest pass, graph included.

    `states` [rows, seq, width] is the output of the model without its head. `pooled` [rows, ..., width] is the input of
    the head's last dropout; it is missing if the head has none.
    """
    ends: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        hooks.enter_context(captured_output(model.base_model, ends, "states"))
        for dropout in head_modules(model, nn.Dropout)[-1:]:
            # ELECTRA's and RoBERTa's heads use their dropout twice; the last time counts.
            hooks.enter_context(captured_input(dropout, ends, "pooled"))
        yield ends


def last_linear(model: Any) -> nn.Linear:
    """The linear map that ends a stock model's head."""
    return head_modules(model, nn.Linear)[-1]


def head_modules(model: Any, kind: type[ModuleT]) -> list[ModuleT]:
    """The modules of this class in the model's head, in the order of the model."""
    inside = set(model.base_model.modules())
    return [module for module in model.modules() if isinstance(module, kind) and module not in inside]


SOFTMAXES = frozenset({torch.softmax, torch.Tensor.softmax, F.softmax})


class _Attending(TorchFunctionMode):
    """Within one layer: adds a bias to the scores, keeps the probabilities, and cuts their gradient off if wanted."""

    def __init__(self, bias: Tensor | None, keep: Callable[[Tensor], None], *, detached: bool) -> None:
        super().__init__()
        self._bias = bias
        self._keep = keep
        self._detached = detached

    def __torch_function__(
        self, func: Any, types: Collection[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # Torch leaves the mode while this method runs.
        if func not in SOFTMAXES:
            return func(*args, **(kwargs or {}))
        scores, *others = args
        if self._bias is not None:
            # A BiLSTM has a single row of scores.
            scores = scores + self._bias[:, :, : scores.shape[-2]]
        probabilities: Tensor = func(scores, *others, **(kwargs or {}))
        if self._detached:
            probabilities = probabilities.detach()
        self._keep(probabilities)
        return probabilities


@contextmanager
def changed_layers(
    model: Any,
    start: int,
    biases: Mapping[int, ScoreBias],
    mask: Bool[Tensor, "batch seq"],
    detached: Collection[int],
    keep: Callable[[int, Tensor, Tensor], None],
) -> Iterator[None]:
    """Change one pass of a model: its layers before `start` do nothing, and scores get the biases of their layers.

    `keep` is called with the number of each layer, the state that enters it and its probabilities. In the layers of
    `detached` no gradient passes through these.
    """
    family = find_family(model.config)
    layers = family.layers(model.base_model)
    numbers = iter(range(len(layers)))

    def watched(forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            number = next(numbers)
            state = args[0] if args else kwargs["hidden_states"]
            if number < start:
                return family.skipped(state)
            bias = biases[number](state, mask) if number in biases else None
            with _Attending(bias, lambda found: keep(number, state, found), detached=number in detached):
                return forward(*args, **kwargs)

        return run

    with ExitStack() as changes:
        for layer in {id(layer): layer for layer in layers}.values():
            changes.enter_context(replaced_forward(layer, watched(layer.forward)))
        yield


@contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Give one module a forward pass of its own in the place of its class's."""
    module.forward = forward
    try:
        yield
    finally:
        del module.forward


@contextmanager
def captured_input(module: nn.Module, into: dict[KeyT, Tensor], key: KeyT) -> Iterator[None]:
    """Put a module's latest input into `into` under `key`."""

    def capture(module: nn.Module, args: tuple[Any, ...]) -> None:
        del module
        into[key] = args[0]

    handle = module.register_forward_pre_hook(capture)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def added(module: nn.Module, noise: Tensor) -> Iterator[None]:
    """Add `noise` to a module's output."""

    def add(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        del module, args
        return output + noise

    handle = module.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def watched_call(encoder: nn.Module, word_noise: Tensor | None) -> Iterator[list[Any]]:
    """Yield a list that receives the result of the encoder's next call, and of no other.

    That call gets `word_noise`, if there is any, on top of the noise that it was given.
    """
    seen: list[Any] = []

    def add(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        del module
        if seen or word_noise is None:
            return None
        given = kwargs.get("word_noise")
        return args, {**kwargs, "word_noise": word_noise if given is None else given + word_noise}

    def keep(module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
        del module, args
        if not seen:
            seen.append(result)

    with ExitStack() as hooks:
        hooks.callback(encoder.register_forward_pre_hook(add, with_kwargs=True).remove)
        hooks.callback(encoder.register_forward_hook(keep).remove)
        yield seen


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Turn dropout off. Afterwards every module is in the mode that it had."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, was in training.items():
            module.training = was


@contextmanager
def captured_output(layer: nn.Module, into: dict[KeyT, Tensor], key: KeyT) -> Iterator[None]:
    """Put a layer's latest output state into `into` under `key`."""

    def capture(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        del module, args
        into[key] = output if isinstance(output, Tensor) else output[0]

    handle = layer.register_forward_hook(capture)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def entered_by(model: Any, hidden: Tensor) -> Iterator[None]:
    """Put `hidden` in the place of the state that enters the first layer."""
    owner, name = find_family(model.config).entrance(model.base_model)
    below = getattr(owner, name)
    setattr(owner, name, _Given(hidden))
    try:
        yield
    finally:
        setattr(owner, name, below)


class _Given(nn.Module):
    """Gives a state that was computed before."""

    def __init__(self, state: Tensor) -> None:
        super().__init__()
        self._state = state

    def forward(self, *_: Any, **__: Any) -> Tensor:
        return self._state
