"""Writes a checkpoint's fp32 graph with optimum's exporter: the stock model, with its explanations as further outputs.

The output `rollout` follows Abnar & Zuidema (2020), "Quantifying Attention Flow in Transformers".
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import onnx
import torch
from jaxtyping import Float, Int
from optimum.exporters.onnx import export
from optimum.exporters.onnx.config import TextEncoderOnnxConfig
from optimum.utils import DEFAULT_DUMMY_SHAPES, DummyInputGenerator, NormalizedTextConfig
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from export.errors import TooLarge
from export.package import TensorInfo
from export.session import OUTPUTS
from models.networks.encoder import read_logits, self_attends
from models.networks.gate import GatedModel
from models.tasks.task import READ_AT_TOKENS, Head

OPSET = 18
"""The default of optimum, written down so that graphs stay the same when it changes."""

LARGEST_FILE = 2**31 - 1
"""Most bytes in a protobuf message, and so in an ONNX file."""


class ExplainingModel(nn.Module):
    """A model with its head that also returns where it looked, from the first token or from the token asked for."""

    def __init__(self, model: PreTrainedModel | GatedModel, head: Head) -> None:
        super().__init__()
        self.model = model
        self.config = model.config
        self._choices = head == "multiple-choice"

    def forward(
        self,
        input_ids: Int[Tensor, "batch sequence"],
        attention_mask: Int[Tensor, "batch sequence"],
        token_type_ids: Int[Tensor, "batch sequence"] | None = None,
        read_at: Int[Tensor, " batch"] | None = None,
    ) -> dict[str, Float[Tensor, "batch ..."]]:
        """Logits, with attention and rollout as [batch, sequence]; both are exactly 0 on padding.

        Logits are [batch, labels]. A head that labels tokens gives [batch, sequence, labels], a head that compares
        choices gives [batch, 1] with one choice a row, and a head that finds spans gives [batch, sequence, 2].

        A model whose tokens do not attend to each other has no rollout; its attention is the one that pools the text.
        """
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        if self._choices:
            inputs = {name: tensor.unsqueeze(1) for name, tensor in inputs.items()}
        answer = self.model(output_attentions=True, **inputs)
        found = {"logits": read_logits(answer), "attention": read_row(answer.attentions[-1], read_at)}
        return found | {"rollout": roll_out(answer.attentions, read_at)} if self_attends(self.config) else found


def outputs_of(config: PretrainedConfig) -> tuple[str, ...]:
    """Names of the outputs that `ExplainingModel` has for a model of this configuration."""
    return tuple(name for name in OUTPUTS if name != "rollout" or self_attends(config))


def read_row(
    probabilities: Float[Tensor, "batch heads query key"], read_at: Int[Tensor, " batch"] | None = None
) -> Float[Tensor, "batch key"]:
    """Attention from the first position, or from each row's own, as a mean over heads."""
    if read_at is None:
        return probabilities[:, :, 0].mean(dim=1)
    return _carry(_mark(read_at, probabilities), probabilities)


def roll_out(
    layers: Sequence[Float[Tensor, "batch heads _ key"]], read_at: Int[Tensor, " batch"] | None = None
) -> Float[Tensor, "batch key"]:
    """Attention rollout: one row, the first or `read_at`, of a product of matrices, one for each layer.

    A layer's matrix is 1/2 attention (mean over heads) + 1/2 identity. Only the wanted row is carried from the last
    layer back to the first, as a vector times each layer's attention.
    """
    row = read_row(layers[-1], read_at)
    if read_at is None:
        row = torch.cat([row[:, :1] + 1, row[:, 1:]], dim=1) / 2
    else:
        row = (row + _mark(read_at, layers[-1])) / 2
    for probabilities in reversed(layers[:-1]):
        row = (_carry(row, probabilities) + row) / 2
    return row


def _mark(read_at: Tensor, probabilities: Tensor) -> Tensor:
    """1 at each row's position and 0 elsewhere, as [batch, key]."""
    positions = torch.arange(probabilities.shape[-1], device=read_at.device)
    return (positions[None, :] == read_at[:, None]).to(probabilities.dtype)


def _carry(row: Tensor, probabilities: Tensor) -> Tensor:
    """Multiply a vector [batch, query] by the attention's mean over heads."""
    return (row[:, None, None] @ probabilities).mean(dim=1)[:, 0]


def write_graph(model: PreTrainedModel | GatedModel, head: Head, path: Path) -> None:
    """Write the model in fp32 with the outputs of `ExplainingModel`, for any batch of rows of two tokens or more.

    Raises:
        TooLarge: the weights do not fit into one ONNX file.
    """
    size = sum(4 * parameter.numel() for parameter in model.parameters())
    if size > LARGEST_FILE:
        raise TooLarge(
            f"{size / 1e9:.1f} GB of weights in fp32; an ONNX file holds 2.1 GB: start from a smaller base model"
        )
    reads_anywhere = head in READ_AT_TOKENS
    config = (_TokenGraphConfig if reads_anywhere else _GraphConfig)(model.config, task="feature-extraction")
    reads_all = reads_anywhere or isinstance(model, GatedModel) or not self_attends(model.config)
    with nullcontext() if reads_all else _last_layer_reads_only_the_start(model), warnings.catch_warnings():
        # Torch warns that a traced LSTM may not run at other batch sizes. The export gates check that it does.
        warnings.filterwarnings("ignore", "Exporting a model to ONNX with a batch_size other than 1", UserWarning)
        export(ExplainingModel(model, head), config, path, opset=OPSET)


def read_tensors(path: Path) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Read the inputs and outputs of the graph in a file."""
    graph = onnx.load(path, load_external_data=False).graph
    return tuple(map(_tensor_info, graph.input)), tuple(map(_tensor_info, graph.output))


def _tensor_info(value: Any) -> TensorInfo:
    tensor = value.type.tensor_type
    return TensorInfo(
        name=value.name,
        dtype=str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)),
        axes=tuple(axis.dim_param or str(axis.dim_value) for axis in tensor.shape.dim),
    )


class _GraphConfig(TextEncoderOnnxConfig):  # type: ignore[misc]  # optimum has no types
    """Names and axes of the graph's inputs and outputs, as optimum asks for them."""

    NORMALIZED_CONFIG_CLASS = NormalizedTextConfig

    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        segments = ("token_type_ids",) if self._config.type_vocab_size > 1 else ()
        return {name: {0: "batch", 1: "sequence"} for name in ("input_ids", "attention_mask", *segments)}

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        return {name: {0: "batch"} | ({} if name == "logits" else {1: "sequence"}) for name in outputs_of(self._config)}


class _PositionGenerator(DummyInputGenerator):  # type: ignore[misc]
    """Makes the positions that the graph is traced with."""

    SUPPORTED_INPUT_NAMES = ("read_at",)

    def __init__(self, *_: Any, batch_size: int = DEFAULT_DUMMY_SHAPES["batch_size"], **__: Any) -> None:
        self._rows = batch_size

    def generate(self, *_: Any, **__: Any) -> Tensor:
        return torch.ones(self._rows, dtype=torch.int64)


class _TokenGraphConfig(_GraphConfig):
    """The same for a head whose answers stand at tokens: such a graph takes `read_at` too."""

    DUMMY_INPUT_GENERATOR_CLASSES = (*_GraphConfig.DUMMY_INPUT_GENERATOR_CLASSES, _PositionGenerator)

    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        return {**super().inputs, "read_at": {0: "batch"}}

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        return {name: {0: "batch", 1: "sequence"} for name in OUTPUTS}


@contextmanager
def _last_layer_reads_only_the_start(model: PreTrainedModel) -> Iterator[None]:
    """Have the last layer compute only what the classifier reads: the first position, which attends to all.

    This saves a seventh of a MiniLM's time. The layer runs as cross-attention from the start of the row to all of it.
    """

    def narrow(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        del module
        whole, *rest = args
        # Two positions, not one: ONNX Runtime multiplies a single row by another kernel, whose sums depend on padding.
        return (whole[:, :2], *rest), {**kwargs, "encoder_hidden_states": whole}

    last = model.base_model.encoder.layer[-1].attention
    hook = last.register_forward_pre_hook(narrow, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()
