"""Writes a checkpoint's fp32 graph with optimum's exporter: the stock model, with its explanations as further outputs.

The output `rollout` follows Abnar & Zuidema (2020), "Quantifying Attention Flow in Transformers".
"""

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
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

from export.decomposition.graft import SOURCE
from export.graphs.layout import reshape, sequence_first
from export.package import TensorInfo
from export.session import SHARES
from models.networks.encoder import read_logits
from models.networks.families import find_family, reads_segments
from models.networks.gate import GatedModel
from models.networks.hooks import captured_input, captured_output
from models.tasks.task import READ_AT_TOKENS, Head

OPSET = 18
"""The default of optimum, written down so that graphs stay the same when it changes."""


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
        """Logits, with attention and rollout as [batch, sequence], both exactly 0 on padding, and the embeddings.

        Logits are [batch, labels]. A head that labels tokens gives [batch, sequence, labels], a head that compares
        choices gives [batch, 1] with one choice a row, and a head that finds spans gives [batch, sequence, 2].

        A model whose tokens do not attend to each other has no rollout; its attention is the one that pools the text.
        The embeddings [batch, sequence, width] are those before their LayerNorm, if there is one.
        """
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        if self._choices:
            inputs = {name: tensor.unsqueeze(1) for name, tensor in inputs.items()}
        base, family = self.model.base_model, find_family(self.config)
        held: dict[str, Tensor] = {}
        norm = family.embedding_norm(base)
        with (
            captured_output(base.get_input_embeddings(), held, SOURCE)
            if norm is None
            else captured_input(norm, held, SOURCE)
        ):
            answer = self.model(output_attentions=True, **inputs)
        heads = self.config.num_attention_heads
        # A BiLSTM has an axis for its only head; encoders are traced with their heads beside the batch.
        layers = [
            probabilities.flatten(0, 1) if probabilities.dim() == 4 else probabilities
            for probabilities in answer.attentions
        ]
        read = None
        if read_at is not None:
            read = _mark(read_at, layers[-1])
        elif family.pools_mean(self.config):
            read = attention_mask / attention_mask.sum(dim=1, keepdim=True)
        found = {"logits": read_logits(answer), "attention": read_row(layers[-1], heads, read)}
        if family.self_attends:
            found["rollout"] = roll_out(layers, heads, read)
        return found | held


def _outputs_of(config: PretrainedConfig) -> tuple[str, ...]:
    """Names of the outputs that `ExplainingModel` has for a model of this configuration."""
    return ("logits", *(name for name in SHARES if name != "rollout" or find_family(config).self_attends), SOURCE)


def read_row(
    probabilities: Float[Tensor, "batch_heads query key"], heads: int, read: Float[Tensor, "batch query"] | None = None
) -> Float[Tensor, "batch key"]:
    """Attention from the first position, or from positions that `read` weighs, as a mean over heads."""
    if read is None:
        return _mean_over_heads(probabilities[:, :1], heads)
    return _carry(read, probabilities, heads)


def roll_out(
    layers: Sequence[Float[Tensor, "batch_heads _ key"]], heads: int, read: Float[Tensor, "batch query"] | None = None
) -> Float[Tensor, "batch key"]:
    """Attention rollout: one row, the first or a sum weighed by `read`, of a product of matrices, one for each layer.

    A layer's matrix is 1/2 attention (mean over heads) + 1/2 identity. Only the wanted row is carried from the last
    layer back to the first, as a vector times each layer's attention.
    """
    row = read_row(layers[-1], heads, read)
    row = torch.cat([row[:, :1] + 1, row[:, 1:]], dim=1) / 2 if read is None else (row + read) / 2
    for probabilities in reversed(layers[:-1]):
        row = (_carry(row, probabilities, heads) + row) / 2
    return row


def _mark(read_at: Tensor, probabilities: Tensor) -> Tensor:
    """1 at each row's position and 0 elsewhere, as [batch, key]."""
    positions = torch.arange(probabilities.shape[-1], device=read_at.device)
    return (positions[None, :] == read_at[:, None]).to(probabilities.dtype)


def _carry(row: Tensor, probabilities: Tensor, heads: int) -> Tensor:
    """Multiply a vector [batch, query] by the attention's mean over heads."""
    each = reshape(row[:, None].repeat(1, heads, 1), (-1, 1, 0))
    return _mean_over_heads(each @ probabilities, heads)


def _mean_over_heads(rows: Float[Tensor, "batch_heads 1 key"], heads: int) -> Float[Tensor, "batch key"]:
    return reshape(rows, (-1, heads, 0)).mean(dim=1)


def trace(model: PreTrainedModel | GatedModel, head: Head, path: Path) -> None:
    """Write the outputs of `ExplainingModel` as a graph in fp32, for any batch of rows of two tokens or more.

    It is not served as it is: its attention and rollout are computed at every run, and its embeddings [batch, sequence,
    width] are an output. Weights that do not fit into one ONNX file lie in a second one, whose name is optimum's.
    """
    reads_anywhere = head in READ_AT_TOKENS
    config = (_TokenGraphConfig if reads_anywhere else _GraphConfig)(model.config, task="feature-extraction")
    reads_all = reads_anywhere or isinstance(model, GatedModel)
    is_like_bert = find_family(model.config).like_bert
    layout = sequence_first(model, reads_only_the_start=not reads_all) if is_like_bert else nullcontext()
    with layout, warnings.catch_warnings():
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
        segments = ("token_type_ids",) if reads_segments(self._config) else ()
        return {name: {0: "batch", 1: "sequence"} for name in ("input_ids", "attention_mask", *segments)}

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        names = _outputs_of(self._config)
        return {name: {0: "batch"} | ({} if name == "logits" else {1: "sequence"}) for name in names}


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
        return {name: {0: "batch", 1: "sequence"} for name in _outputs_of(self._config)}
