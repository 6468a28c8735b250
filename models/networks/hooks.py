"""Forward hooks on a transformers model, which add to a pass or read from it.

BERT, RoBERTa and ELECTRA in eager attention compute `scores + attention_mask`, and so does our BiLSTM. A pre-hook on an
attention module sees the state that enters the layer and adds a bias to that mask. So no model file is copied, the
padding bias always stays, and no method can unmask padding.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from jaxtyping import Bool, Float
from torch import Tensor, nn

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

    `states` [rows, seq, width] is the last layer's output. `pooled` [rows, ..., width] is the input of the head's last
    dropout; it is missing if the head has none.
    """
    ends: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        hooks.enter_context(captured_output(model.base_model.encoder.layer[-1], ends, "states"))
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


@contextmanager
def biased(attention: nn.Module, bias: ScoreBias, mask: Tensor) -> Iterator[None]:
    """Add `bias` of the entering state and `mask` to an attention module's scores."""

    def add(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        del module
        state = kwargs.pop("hidden_states") if "hidden_states" in kwargs else args[0]
        padding = kwargs.pop("attention_mask") if "attention_mask" in kwargs else args[1]
        return (state, padding + bias(state, mask), *args[2:]), kwargs

    handle = attention.register_forward_pre_hook(add, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


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
        into[key] = output[0] if isinstance(output, tuple) else output

    handle = layer.register_forward_hook(capture)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def started_at(model: Any, layer: int, hidden: Tensor) -> Iterator[None]:
    """Put `hidden` in the place of the output of the embeddings and of the layers before `layer`."""
    base = model.base_model
    encoder = base.encoder
    # ELECTRA's embeddings may be narrower than its layers, with a projection between.
    name = "embeddings_project" if hasattr(base, "embeddings_project") else "embeddings"
    whole, below = encoder.layer, getattr(base, name)
    setattr(base, name, _Given(hidden))
    encoder.layer = whole[layer:]
    try:
        yield
    finally:
        encoder.layer = whole
        setattr(base, name, below)


class _Given(nn.Module):
    """Gives a state that was computed before."""

    def __init__(self, state: Tensor) -> None:
        super().__init__()
        self._state = state

    def forward(self, *_: Any, **__: Any) -> Tensor:
        return self._state
