"""Writes graphs to files: in one file, or with the weights in a file beside it where one could not hold them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, TensorProto

from export.external_data import data_file

LARGEST_FILE = 2**31 - 2**26
"""Most bytes of weights in an ONNX file. A message of protobuf holds 2 GiB, in which the nodes need room too."""

SMALLEST_BYTES = 1024
"""Smaller constants stay in the graph, where shapes are read."""


def is_large(graph: ModelProto | Path) -> bool:
    """Whether a graph needs a second file for its weights, or, by its path, has one."""
    return data_file(graph).exists() if isinstance(graph, Path) else weight_bytes(graph) > LARGEST_FILE


def weight_bytes(model: ModelProto) -> int:
    """The size of a graph's constants, those of its branches included."""
    return sum(len(tensor.raw_data) for tensor in tensors(model.graph))


def save_graph(model: ModelProto, path: Path) -> None:
    """Write a graph to `path`, and to a second file beside it where one cannot hold the weights.

    A graph that is written in two files must not be used any more: its weights have left the memory.
    """
    data = data_file(path)
    # ONNX appends to a file that is there.
    data.unlink(missing_ok=True)
    if is_large(model):
        onnx.save(model, path, save_as_external_data=True, location=data.name, size_threshold=SMALLEST_BYTES)
    else:
        onnx.save(model, path)


def copy_graph(graph: Path, to: Path) -> None:
    """Copy a graph with its second file, if it has one, which is then named after the copy."""
    if not is_large(graph):
        shutil.copyfile(graph, to)
        return
    model = onnx.load(graph, load_external_data=False)
    for tensor in tensors(model.graph):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = data_file(to).name
    to.write_bytes(model.SerializeToString())
    shutil.copyfile(data_file(graph), data_file(to))


def tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """The constants of a graph and of its branches."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == onnx.AttributeProto.GRAPH:
                yield from tensors(attribute.g)
