"""A checkpoint's fp32 graph: the stock model with its explanations as further outputs, through optimum's exporter.

`rollout` is Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers".
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from jaxtyping import Float, Int
from optimum.exporters.onnx import export
from optimum.exporters.onnx.config import TextEncoderOnnxConfig
from optimum.utils import NormalizedTextConfig
from torch import Tensor, nn
from transformers import PreTrainedModel

from export.package import TensorInfo
from export.refusals import TooLarge
from export.session import OUTPUTS

OPSET = 18
"""optimum's default, named so that graphs do not change with it."""

LARGEST_FILE = 2**31 - 1
"""Bytes that protobuf, and so an ONNX file, can hold."""


class Explained(nn.Module):
    """A sequence classifier that also gives where it looked, read at the first token."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.config = model.config

    def forward(
        self,
        input_ids: Int[Tensor, "batch sequence"],
        attention_mask: Int[Tensor, "batch sequence"],
        token_type_ids: Int[Tensor, "batch sequence"] | None = None,
    ) -> dict[str, Float[Tensor, "batch _"]]:
        """Logits, and [batch, sequence] attention and rollout that are exactly 0 on padding."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        answer = self.model(input_ids=input_ids, attention_mask=attention_mask, output_attentions=True, **types)
        return {
            "logits": answer.logits,
            "attention": first_row(answer.attentions[-1]),
            "rollout": roll_out(answer.attentions),
        }


def first_row(probabilities: Float[Tensor, "batch heads query key"]) -> Float[Tensor, "batch key"]:
    """Attention of the first position, mean over heads."""
    return probabilities[:, :, 0].mean(dim=1)


def roll_out(layers: Sequence[Float[Tensor, "batch heads _ key"]]) -> Float[Tensor, "batch key"]:
    """First row of the product over layers of 1/2 attention (mean over heads) + 1/2 identity.

    Only that row is carried, from the last layer back to the first: a vector times each layer's attention.
    """
    row = first_row(layers[-1])
    row = torch.cat([row[:, :1] + 1, row[:, 1:]], dim=1) / 2
    for probabilities in reversed(layers[:-1]):
        row = ((row[:, None, None] @ probabilities).mean(dim=1)[:, 0] + row) / 2
    return row


def write_graph(model: PreTrainedModel, path: Path) -> None:
    """Write the model in fp32 with the outputs of `Explained`, for any batch and any sequence of two tokens or more.

    Raises:
        TooLarge: the weights do not go into one ONNX file.
    """
    size = sum(4 * parameter.numel() for parameter in model.parameters())
    if size > LARGEST_FILE:
        raise TooLarge(
            f"{size / 1e9:.1f} GB of weights in fp32; an ONNX file holds 2.1 GB: start from a smaller base model"
        )
    with _last_layer_reads_only_the_start(model):
        export(Explained(model), _GraphConfig(model.config, task="text-classification"), path, opset=OPSET)


def read_tensors(path: Path) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Inputs and outputs of the graph in a file."""
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
    """What optimum asks about the graph."""

    NORMALIZED_CONFIG_CLASS = NormalizedTextConfig

    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        segments = ("token_type_ids",) if self._config.type_vocab_size > 1 else ()
        return {name: {0: "batch", 1: "sequence"} for name in ("input_ids", "attention_mask", *segments)}

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        return {name: {0: "batch"} | ({} if name == "logits" else {1: "sequence"}) for name in OUTPUTS}


@contextmanager
def _last_layer_reads_only_the_start(model: PreTrainedModel) -> Iterator[None]:
    """Let the last layer compute what the classifier reads: the first position, attending to all.

    Saves a seventh of a MiniLM. The layer is run as cross-attention from the start of the row to the whole of it.
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
