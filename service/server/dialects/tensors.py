"""Texts and answers as tensors of the Open Inference Protocol, in JSON or in its binary form.

In binary, numbers are little-endian, and a text is its length in bytes, as 4 bytes, before its UTF-8.
"""

import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from models.tasks.task import AnyTask, LabelScore
from service.answers.predictor import Predictor
from service.server.problems import Problem

CONFIG_TYPES = {"BYTES": "TYPE_STRING", "FP64": "TYPE_FP64", "INT64": "TYPE_INT64"}
"""The datatypes used here, with their names in Triton's model configurations."""

NOWHERE = -1
"""Stands in a tensor of numbers for a place that there is not, where the answer has none."""

_LENGTH = struct.Struct("<I")


class InputTensor(BaseModel):
    """A tensor of a request; its data stand here, or in the binary part."""

    model_config = ConfigDict(hide_input_in_errors=True)

    name: str
    shape: list[NonNegativeInt] = Field(min_length=1)
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}


@dataclass(frozen=True)
class OutputTensor:
    """A tensor of an answer."""

    datatype: str
    shape: list[int]
    data: list[Any]
    """Its entries, row by row."""


def split_binary(tensors: Sequence[InputTensor], rest: bytes) -> dict[str, bytes]:
    """The binary data of the tensors that have some, by name; `rest` holds them in the order of the tensors.

    Raises:
        Problem: there are more or fewer data than the tensors say.
    """
    found: dict[str, bytes] = {}
    place = 0
    for tensor in tensors:
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            continue
        if not isinstance(size, int) or not 0 <= size <= len(rest) - place:
            raise Problem("validation", f"{tensor.name}: binary_data_size must be a number of bytes behind the JSON")
        found[tensor.name] = rest[place : place + size]
        place += size
    if place != len(rest):
        raise Problem("validation", f"{len(rest) - place} bytes behind the JSON belong to no tensor")
    return found


def read_texts(tensor: InputTensor, binary: bytes | None, *, of_lists: bool) -> list[Any]:
    """The texts of a tensor, one for each item, or a list of texts for each; raises Problem."""
    name, shape = tensor.name, tensor.shape
    if tensor.datatype != "BYTES":
        raise Problem("validation", f"{name}: must have the datatype BYTES, which holds texts")
    fits = len(shape) == 2 if of_lists else len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if not fits:
        accepted = "[items, texts]" if of_lists else "[items] or [items, 1]"
        raise Problem("validation", f"{name}: must have the shape {accepted}")
    if binary is not None:
        texts = list(_unpack(name, binary))
    elif tensor.data is not None:
        texts = list(_flatten(tensor.data))
    else:
        raise Problem("validation", f"{name}: has no data; send `data`, or `binary_data_size` and the bytes")
    if not all(isinstance(text, str) for text in texts):
        raise Problem("validation", f"{name}: must hold texts")
    if len(texts) != math.prod(shape):
        raise Problem("validation", f"{name}: holds {len(texts):,} texts, and its shape says {math.prod(shape):,}")
    if not of_lists:
        return texts
    return [texts[start : start + shape[1]] for start in range(0, len(texts), shape[1])] if shape[1] else []


def _flatten(data: list[Any]) -> Iterator[Any]:
    for value in data:
        if isinstance(value, list):
            yield from value
        else:
            yield value


def _unpack(name: str, binary: bytes) -> Iterator[str]:
    place = 0
    while place < len(binary):
        end = place + _LENGTH.size
        if end > len(binary):
            raise Problem("validation", f"{name}: ends within the length of a text")
        (length,) = _LENGTH.unpack_from(binary, place)
        place = end + length
        if place > len(binary):
            raise Problem("validation", f"{name}: ends within a text")
        try:
            yield binary[end:place].decode()
        except UnicodeDecodeError:
            raise Problem("validation", f"{name}: holds a text that is not UTF-8") from None


@cache
def _datatypes(task: AnyTask) -> Mapping[str, str]:
    """The datatype of each field of the task's answers; LABELS for the scores of all labels, JSON for other lists."""
    return {name: _datatype(field.annotation) for name, field in task.answer.model_fields.items()}


def _datatype(annotation: Any) -> str:
    if get_origin(annotation) is tuple and annotation != tuple[LabelScore, ...]:
        return "JSON"
    kinds = {kind for kind in (get_args(annotation) or (annotation,)) if kind not in (type(None), Ellipsis)}
    known: dict[Any, str] = {str: "BYTES", float: "FP64", int: "INT64", LabelScore: "LABELS"}
    return known.get(kinds.pop(), "JSON") if len(kinds) == 1 else "JSON"


def describe_outputs(predictor: Predictor) -> list[dict[str, Any]]:
    """The names, datatypes and shapes of a model's outputs."""
    labels = len(predictor.package.manifest.labels)
    shapes = {"LABELS": ("FP64", [-1, labels]), "JSON": ("BYTES", [-1])}
    described = []
    for name, kind in _datatypes(predictor.task).items():
        datatype, shape = shapes.get(kind, (kind, [-1]))
        described.append({"name": name, "datatype": datatype, "shape": shape})
    return described


def make_outputs(predictor: Predictor, results: Sequence[Any]) -> dict[str, OutputTensor]:
    """The fields of results as tensors: the scores of labels in the order of the model's labels, lists as JSON."""
    labels = predictor.package.manifest.labels
    outputs = {}
    for name, kind in _datatypes(predictor.task).items():
        values = [getattr(result, name) for result in results]
        if kind == "LABELS":
            rows = [{entry.label: entry.score for entry in value} for value in values]
            shares = [row[label] for row in rows for label in labels]
            outputs[name] = OutputTensor("FP64", [len(values), len(labels)], shares)
        elif kind == "JSON":
            texts = [_write_list(value) for value in values]
            outputs[name] = OutputTensor("BYTES", [len(values)], texts)
        else:
            nothing = "" if kind == "BYTES" else NOWHERE
            given = [nothing if value is None else value for value in values]
            outputs[name] = OutputTensor(kind, [len(values)], given)
    return outputs


def _write_list(values: Sequence[BaseModel | str]) -> str:
    dumped = [value.model_dump() if isinstance(value, BaseModel) else value for value in values]
    return json.dumps(dumped, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def write_binary(tensor: OutputTensor) -> bytes:
    """The entries of a tensor in binary."""
    if tensor.datatype == "BYTES":
        texts = [text.encode() for text in tensor.data]
        return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
    return np.array(tensor.data, dtype={"FP64": "<f8", "INT64": "<i8"}[tensor.datatype]).tobytes()
