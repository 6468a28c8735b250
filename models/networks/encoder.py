"""A transformers model with one hook: a bias on any layer's attention scores, and that layer's insides on request.

BERT, RoBERTa and ELECTRA in eager attention compute `scores + attention_mask`, and so does our BiLSTM. A forward
pre-hook on each attention module sees the state that enters the layer and adds the bias to that mask, so no model file
is copied, the padding bias always stays, and no method can unmask padding.
"""

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from models.errors import UserError
from models.networks.bilstm import BilstmConfig, BilstmForSequenceClassification
from models.tasks.task import Head

AutoConfig.register(BilstmConfig.model_type, BilstmConfig)
AutoModelForSequenceClassification.register(BilstmConfig, BilstmForSequenceClassification)

HEADS: dict[Head, Any] = {
    "sequence-classification": AutoModelForSequenceClassification,
    "token-classification": AutoModelForTokenClassification,
    "multiple-choice": AutoModelForMultipleChoice,
    "question-answering": AutoModelForQuestionAnswering,
    "masked-language-model": AutoModelForMaskedLM,
}
FAMILIES = ("bert", "roberta", "electra", BilstmConfig.model_type)

ScoreBias = Callable[
    [Float[Tensor, "batch seq width"], Bool[Tensor, "batch seq"]], Float[Tensor, "batch #heads #query #seq"]
]
"""Entering state and `Encoder.attended` -> what is added to that layer's scores; may need a gradient.

A BiLSTM has one row of scores: of a bias with a row for every token it takes the first, as a head that reads the first
token would.
"""


class EncoderError(UserError):
    """A base model that cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Padded rows with their right answers; an example is one row, or with choices a row for each of them."""

    ids: Int[Tensor, "rows seq"]
    type_ids: Int[Tensor, "rows seq"]
    mask: Bool[Tensor, "rows seq"]
    """True on real tokens."""
    targets: Shaped[Tensor, "batch ..."]
    """A label, choice or number, (batch,); a label for each token, (batch, seq); or a span's ends, (batch, 2)."""
    indices: Int[Tensor, " batch"]
    """Number of each example in the training data: what a method's random choices may depend on."""
    choices: tuple[int, ...] | None = None
    """How many rows each example has, where logits are to be compared between them."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The insides of one layer, with their graph."""

    entering: Float[Tensor, "batch seq width"]
    probabilities: Float[Tensor, "batch heads query seq"]
    """Attention before its dropout; rows are queries, and a BiLSTM has only one."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What one forward pass gave."""

    logits: Float[Tensor, "batch ..."]
    states: Float[Tensor, "rows seq width"]
    """Of the last layer."""
    pooled: Float[Tensor, "rows ... width"] | None
    """What the head's last dropout and linear map read; None for a head without dropout."""
    kept: Mapping[int, Kept]


class Encoder(nn.Module):
    """A transformers model, head included, under the hook."""

    model: Any
    """A transformers model: untyped."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        family = model.config.model_type
        if family not in FAMILIES:
            raise EncoderError(
                f"base model of family {family!r}; the families that can be trained: {', '.join(FAMILIES)}"
            )
        model.config._attn_implementation = "eager"
        self.model = model
        self._chooses = type(model).__name__.endswith("ForMultipleChoice")

    @property
    def layers(self) -> nn.ModuleList:
        """The layers that attend, first to last; a BiLSTM has one."""
        layers: nn.ModuleList = self.model.base_model.encoder.layer
        return layers

    @property
    def max_tokens(self) -> int:
        """Longest row that has positions; RoBERTa's begin after the padding token's number, a BiLSTM needs none."""
        config = self.model.config
        if not self.self_attends:
            return sys.maxsize
        taken = config.pad_token_id + 1 if config.model_type == "roberta" else 0
        return int(config.max_position_embeddings) - taken

    @property
    def width(self) -> int:
        """Size of the hidden states."""
        return int(self.model.config.hidden_size)

    @property
    def self_attends(self) -> bool:
        """Whether tokens attend to each other; else a single row of attention takes the mean of their states."""
        return self_attends(self.model.config)

    def attended(self, batch: Batch) -> Bool[Tensor, "rows seq"]:
        """The tokens that attention can fall on: the real ones; of a BiLSTM's pairs, those of the first text."""
        if self.self_attends or not _has_segments(self.model):
            return batch.mask
        return batch.mask & (batch.type_ids == 0)

    @property
    def word_vectors(self) -> Float[Tensor, "vocabulary embedding"]:
        """The table of word vectors, a parameter."""
        table: Tensor = self.model.get_input_embeddings().weight
        return table

    @property
    def heads(self) -> int:
        """Attention heads of each layer."""
        return int(self.model.config.num_attention_heads)

    def forward(
        self,
        batch: Batch,
        *,
        start_layer: int = 0,
        hidden: Float[Tensor, "batch seq width"] | None = None,
        score_bias: Mapping[int, ScoreBias] | None = None,
        keep: Collection[int] = (),
        word_noise: Float[Tensor, "batch seq embedding"] | None = None,
    ) -> Pass:
        """Run the model, or its layers from `start_layer` on with `hidden` as the state that enters there.

        Then what lies below is not computed. Biases go beside the padding bias of the layers they are named for. Layers
        in `keep` return their insides. Noise is added to the word vectors, before positions and LayerNorm.

        Raises:
            ValueError: a later `start_layer` without `hidden`, or a layer that is not there.
        """
        layers: Any = self.layers
        if start_layer > 0 and hidden is None:
            raise ValueError(f"start_layer {start_layer} needs hidden, the state that enters that layer")
        for number in {*(score_bias or ()), *keep}:
            if not start_layer <= number < len(layers):
                raise ValueError(f"no layer {number} in this pass; it runs layers {start_layer} to {len(layers) - 1}")
        entering: dict[int, Tensor] = {}
        probabilities: dict[int, Tensor] = {}
        with ExitStack() as hooks:
            ends = hooks.enter_context(captured_ends(self.model))
            if word_noise is not None:
                hooks.enter_context(_added(self.model.base_model.embeddings.word_embeddings, word_noise))
            if hidden is not None:
                hooks.enter_context(_start_at(self.model, start_layer, hidden))
            for number, bias in (score_bias or {}).items():
                hooks.enter_context(_biased(layers[number].attention.self, bias, self.attended(batch)))
            for number in keep:
                hooks.enter_context(_captured_input(layers[number].attention.self, entering, number))
                hooks.enter_context(_captured_input(layers[number].attention.self.dropout, probabilities, number))
            output = self.model(**self._inputs(batch))
        logits = read_logits(output)
        return Pass(
            logits=logits if batch.choices is None else _compare(logits, batch.choices),
            states=ends["states"],
            pooled=ends.get("pooled"),
            kept={number: Kept(entering=entering[number], probabilities=probabilities[number]) for number in keep},
        )

    def states(self, batch: Batch) -> Float[Tensor, "rows seq width"]:
        """The last layer's states and nothing of the head: for heads that are a method's own."""
        output = self.model.base_model(**self._inputs(batch))
        states: Tensor = output.last_hidden_state
        return states

    def _inputs(self, batch: Batch) -> dict[str, Tensor]:
        inputs = {"input_ids": batch.ids, "attention_mask": batch.mask.long()}
        if _has_segments(self.model):
            inputs["token_type_ids"] = batch.type_ids
        # transformers' multiple-choice models take (examples, choices, seq): every row as an example of one choice.
        return {name: tensor[:, None] for name, tensor in inputs.items()} if self._chooses else inputs


def self_attends(config: Any) -> bool:
    """Whether a model's tokens attend to each other; else a single row of attention takes the mean of their states."""
    return not isinstance(config, BilstmConfig)


@contextmanager
def captured_ends(model: Any) -> Iterator[dict[str, Tensor]]:
    """What the latest pass of a model in here ended with, graph included.

    `states` [rows, seq, width] are what the last layer gave; `pooled` [rows, ..., width] is what the head's last
    dropout read, and is not there if the head has none.
    """
    ends: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        hooks.enter_context(_captured_output(model.base_model.encoder.layer[-1], ends, "states"))
        for dropout in _head_modules(model, nn.Dropout)[-1:]:
            # ELECTRA's and RoBERTa's heads use it twice: the last time counts.
            hooks.enter_context(_captured_input(dropout, ends, "pooled"))
        yield ends


def last_linear(model: Any) -> nn.Linear:
    """The linear map by which a stock model's head ends."""
    return _head_modules(model, nn.Linear)[-1]


ModuleT = TypeVar("ModuleT", bound=nn.Module)
KeyT = TypeVar("KeyT")


def _head_modules(model: Any, kind: type[ModuleT]) -> list[ModuleT]:
    inside = set(model.base_model.modules())
    return [module for module in model.modules() if isinstance(module, kind) and module not in inside]


def read_logits(output: Any) -> Tensor:
    """What a head gives as one tensor; of spans [batch, seq, 2], how well one begins and ends at each token."""
    if "start_logits" in output:
        return torch.stack([output.start_logits, output.end_logits], dim=-1)
    logits: Tensor = output.logits
    return logits


NO_CHOICE = -1e4
"""Logit of a choice that is not there; finite, so that divergences between softmaxes stay numbers."""


def _compare(logits: Float[Tensor, "rows 1"], choices: tuple[int, ...]) -> Float[Tensor, "batch choices"]:
    """Logits of one row a choice as one row an example, those with fewer choices filled up."""
    parts = torch.split(logits.squeeze(-1), list(choices))
    return nn.utils.rnn.pad_sequence(list(parts), batch_first=True, padding_value=NO_CHOICE)


def load_encoder(base: str | Path, head: Head, labels: tuple[str, ...]) -> Encoder:
    """The model in a folder or on a hub, its head newly drawn from torch's generator where the base has none that fits.

    One fits whose tensors have the names and sizes wanted, whatever task it was trained for.

    Raises:
        EncoderError: nothing there, a family that cannot be trained, or weights that are damaged or missing.
    """
    # Words have no labels: the configuration stays the base's.
    config = load_config(base, **({} if head == "masked-language-model" else name_labels(labels)))
    if config.model_type not in FAMILIES:
        raise EncoderError(f"{base}: family {config.model_type!r}; can be trained: {', '.join(FAMILIES)}")
    if isinstance(config, BilstmConfig) and head != "sequence-classification":
        raise EncoderError(
            f"{base}: a BiLSTM, which cannot have the head {head}; it gives one answer for all of a text"
        )
    # A head of another size is another task's; what of the encoder has another size is not the configuration's.
    model, found = _load_weights(base, head, config=config, ignore_mismatched_sizes=True)
    inside = f"{model.base_model_prefix}."
    misshapen = sorted(name for name in found["mismatched_keys"] if name.startswith(inside))
    if misshapen:
        raise EncoderError(f"{base}: weights that do not fit its configuration, {misshapen[0]} among them")
    # The head, and the pooler that belongs to it, may be new; a hole elsewhere would be filled with noise.
    holes = sorted(
        name for name in found["missing_keys"] if name.startswith(inside) and not name.startswith(f"{inside}pooler.")
    )
    if holes:
        raise EncoderError(f"{base}: {len(holes)} of the encoder's weights are missing, {holes[0]} among them")
    return Encoder(model)


def measuring_device() -> torch.device:
    """Where models are measured: on the accelerator, if there is one."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def load_config(base: str | Path, **changed: Any) -> Any:
    """The configuration in a folder or on a hub, a transformers one; raises EncoderError."""
    try:
        return AutoConfig.from_pretrained(str(base), **changed)
    except (OSError, ValueError) as error:
        raise EncoderError(f"{base}: neither a model folder here nor one that could be fetched ({error})") from error


def name_labels(labels: tuple[str, ...]) -> dict[str, Any]:
    """What a transformers configuration says of a head's labels."""
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
    }


def load_trained(checkpoint: str | Path, head: Head) -> Any:
    """The stock transformers model of a checkpoint, in eager attention and ready to evaluate.

    Raises:
        EncoderError: the folder lacks weights of the model, has others, or is damaged.
    """
    model, found = _load_weights(checkpoint, head)
    wrong = sorted({*found["missing_keys"], *found["unexpected_keys"], *map(str, found["mismatched_keys"])})
    if wrong:
        raise EncoderError(
            f"{checkpoint}: {len(wrong)} weights are missing or not the model's, {wrong[0]} among them; "
            "train it again, or copy it whole"
        )
    return model.eval()


def _load_weights(folder: str | Path, head: Head, **given: Any) -> tuple[Any, dict[str, Any]]:
    try:
        model, found = HEADS[head].from_pretrained(
            str(folder), attn_implementation="eager", dtype=torch.float32, output_loading_info=True, **given
        )
    except (OSError, RuntimeError, SafetensorError) as error:
        # transformers says over several lines which weights are of another shape.
        reason = " ".join(str(error).split())
        raise EncoderError(f"{folder}: weights that do not fit, are damaged or are not there ({reason})") from error
    return model, found


def load_tokenizer(base: str | Path) -> PreTrainedTokenizerFast:
    """The base model's tokenizer; raises EncoderError."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(base))
    except (OSError, ValueError) as error:
        raise EncoderError(f"{base}: no tokenizer here, nor one that could be fetched ({error})") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise EncoderError(f"{base}: its tokenizer has no fast form (tokenizer.json), which offsets need")
    return tokenizer


def _has_segments(model: Any) -> bool:
    return int(model.config.type_vocab_size) > 1


@contextmanager
def _biased(attention: nn.Module, bias: ScoreBias, mask: Tensor) -> Iterator[None]:
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
def _captured_input(module: nn.Module, into: dict[KeyT, Tensor], key: KeyT) -> Iterator[None]:
    def capture(module: nn.Module, args: tuple[Any, ...]) -> None:
        del module
        into[key] = args[0]

    handle = module.register_forward_pre_hook(capture)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _added(module: nn.Module, noise: Tensor) -> Iterator[None]:
    def add(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        del module, args
        return output + noise

    handle = module.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _captured_output(layer: nn.Module, into: dict[KeyT, Tensor], key: KeyT) -> Iterator[None]:
    def capture(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        del module, args
        into[key] = output[0] if isinstance(output, tuple) else output

    handle = layer.register_forward_hook(capture)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _start_at(model: Any, layer: int, hidden: Tensor) -> Iterator[None]:
    """Let `hidden` stand for what the embeddings and the layers before `layer` would give."""

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
    """Gives a state that is there already."""

    def __init__(self, state: Tensor) -> None:
        super().__init__()
        self._state = state

    def forward(self, *_: Any, **__: Any) -> Tensor:
        return self._state
