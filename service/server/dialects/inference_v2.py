"""The Open Inference Protocol v2, under `/v2`, as clients of Triton, KServe and MLServer speak it, in JSON and binary.

A task's fields are input tensors of texts, and the fields of its answer are output tensors, so that a new task needs
nothing here.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from models.errors import tell_mistakes
from models.tasks.task import Item
from service.answers.predictor import Predictor
from service.server.context import current_request
from service.server.dialects.answering import Answering, ErrorText, quote, respond_json, write_error
from service.server.dialects.dialect import Address, Dialect, Document, MediaTypes, Operation
from service.server.dialects.tensors import (
    CONFIG_TYPES,
    InputTensor,
    OutputTensor,
    describe_outputs,
    make_outputs,
    read_texts,
    split_binary,
    write_binary,
)
from service.server.problems import Problem, ProblemForm
from service.version import VERSION

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The header that says where the JSON of a binary body ends and the tensors begin."""

VERSION_LENGTH = 12
"""A model's version is so many digits of its digest, the first."""


class WantedOutput(BaseModel):
    """An output that a request asks for."""

    name: str
    parameters: dict[str, Any] = {}


class InferenceRequest(BaseModel):
    """The JSON of a request. What is not known here is passed over, as the protocol says."""

    model_config = ConfigDict(hide_input_in_errors=True)

    id: str | None = None
    inputs: list[InputTensor] = Field(min_length=1)
    outputs: list[WantedOutput] | None = None
    parameters: dict[str, Any] = {}

    def wants_binary(self, name: str) -> bool:
        """Whether an output is to come in binary."""
        default = self.parameters.get("binary_data_output", False)
        asked = (one.parameters.get("binary_data", default) for one in self.outputs or () if one.name == name)
        return next(asked, default) is True


_EXAMPLE = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["A joy from start to end."]}]}

_MODEL = "/v2/models/{model}"

DOCUMENT = Document(
    tag="Open Inference Protocol",
    describes="Version 2, for clients of Triton, KServe and MLServer, in JSON and binary. `/versions/VERSION` may "
    "follow the name of a model, which is that of a package.",
    operations=[
        Operation(
            name="v2-infer",
            path=f"{_MODEL}/infer",
            describes="Answers as tensors, to inputs whose fields are tensors of texts.",
            body=InferenceRequest,
            example=_EXAMPLE,
            answer=dict[str, Any],
        ),
        *(
            Operation(name=f"v2-{name}", path=path, method="GET", describes=describes, answer=answer)
            for name, path, describes, answer in (
                ("server", "/v2", "The server.", dict[str, Any]),
                ("live", "/v2/health/live", "Whether the server lives.", None),
                ("ready", "/v2/health/ready", "Whether the server is ready.", None),
                ("model", _MODEL, "The tensors of a model.", dict[str, Any]),
                ("model-ready", f"{_MODEL}/ready", "Whether a model is ready.", None),
                ("model-config", f"{_MODEL}/config", "The configuration of a model, with its labels.", dict[str, Any]),
            )
        ),
        Operation(name="v2-index", path="/v2/repository/index", describes="The models.", answer=list[dict[str, Any]]),
    ],
    error=ErrorText,
)


def build(models: Answering) -> Dialect:
    """The dialect, answered by these models."""
    answers = _Answers(models)

    def refuse_early(size: int, model: str, version: str | None = None) -> None:
        models.refuse_early(answers.find(model, version).task.endpoint, size)

    addresses = [
        Address(path="/v2", method="GET", answer=answers.describe_server),
        Address(path="/v2/health/live", method="GET", answer=answers.show_life, probe="live"),
        Address(path="/v2/health/ready", method="GET", answer=answers.show_readiness, probe="ready"),
        Address(path="/v2/repository/index", answer=answers.list_models, may_be_empty=True),
    ]
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        addresses += [
            Address(path=f"{path}/infer", answer=answers.infer, refuse_early=refuse_early),
            Address(path=f"{path}/ready", method="GET", answer=answers.show_readiness, probe="ready"),
            Address(path=f"{path}/config", method="GET", answer=answers.show_config),
            Address(path=path, method="GET", answer=answers.describe_model),
        ]
    return Dialect(
        addresses=addresses,
        problem_form=ProblemForm("application/json", write_error),
        # Triton's client sends none.
        media_types=MediaTypes(frozenset({b"application/json", b"application/octet-stream"}), may_be_missing=True),
    )


class _Answers:
    """The handlers of the addresses."""

    def __init__(self, models: Answering) -> None:
        self._models = models

    def find(self, model: str, version: str | None = None) -> Predictor:
        """The model of a name and a version; the first of several. Raises Problem."""
        predictors = self._models.registry.predictors
        found = next((one for one in predictors if one.name.name == model), None)
        if found is None:
            known = ", ".join(one.name.name for one in predictors)
            raise Problem("model_not_found", f"no model {quote(model)}; there are: {known}")
        _check_version(found, version)
        return found

    async def infer(self, model: str, version: str | None = None) -> Response:
        found = self.find(model, version)
        length = _header_length()
        request = await self._models.read(InferenceRequest, length)
        rest = b"" if length is None else current_request.get().body[length:]
        with self._models.registry.using(found.task.endpoint, found.name.name) as predictor:
            # A reload may have exchanged the model meanwhile.
            _check_version(predictor, version)
            items = self._read_items(predictor, request, split_binary(request.inputs, rest))
            results = await self._models.answer(predictor, items, "input {}".format)
            outputs = make_outputs(predictor, results)
        return _respond(predictor, request, outputs)

    async def describe_server(self) -> Response:
        extensions = ["binary_tensor_data", "model_configuration"]
        return respond_json({"name": "steadfast", "version": VERSION, "extensions": extensions})

    async def show_life(self) -> Response:
        return Response()

    async def show_readiness(self, model: str | None = None, version: str | None = None) -> Response:
        # Raises Problem while nothing is loaded.
        predictors = self._models.registry.predictors
        if model is None:
            return Response()
        found = next((one for one in predictors if one.name.name == model), None)
        # A probe sends no key, so that it is not told which models there are.
        if found is None or version not in (None, _version(found)):
            raise Problem("model_not_found", "no model of this name and version is ready")
        return Response()

    async def list_models(self) -> Response:
        return respond_json(
            [
                {"name": one.name.name, "version": _version(one), "state": "READY", "reason": ""}
                for one in self._models.registry.predictors
            ]
        )

    async def describe_model(self, model: str, version: str | None = None) -> Response:
        found = self.find(model, version)
        return respond_json(
            {
                "name": found.name.name,
                "versions": [_version(found)],
                "platform": "onnxruntime",
                "inputs": _describe_inputs(found),
                "outputs": describe_outputs(found),
            }
        )

    async def show_config(self, model: str, version: str | None = None) -> Response:
        found = self.find(model, version)
        return respond_json(
            {
                "name": found.name.name,
                "backend": "onnxruntime",
                "max_batch_size": 0,
                "input": [_as_config(tensor) for tensor in _describe_inputs(found)],
                "output": [_as_config(tensor) for tensor in describe_outputs(found)],
                "parameters": {"labels": {"string_value": ",".join(found.package.manifest.labels)}},
            }
        )

    def _read_items(self, predictor: Predictor, request: InferenceRequest, binary: dict[str, bytes]) -> list[Item]:
        """The items that the tensors hold, a row of each tensor for each."""
        fields = _fields(predictor)
        given = {tensor.name: tensor for tensor in request.inputs}
        if len(given) < len(request.inputs):
            raise Problem("validation", "two inputs have one name; send one tensor for each")
        required = {name for name, field in predictor.task.item.model_fields.items() if field.is_required()}
        if not required <= given.keys() <= fields.keys():
            names = ", ".join(map(quote, given))
            raise Problem("validation", f"{predictor.name.name} takes the inputs {', '.join(fields)}, not {names}")
        columns = {name: read_texts(tensor, binary.get(name), of_lists=fields[name]) for name, tensor in given.items()}
        counts = {len(column) for column in columns.values()}
        if len(counts) > 1:
            raise Problem("validation", "the inputs must have the same first dimension: an entry for each item")
        count = counts.pop()
        self._models.refuse_many(count, "items")
        if not count:
            raise Problem("validation", "the inputs hold no items; send one or more")
        item = predictor.task.item
        try:
            return [
                item.model_validate({name: column[row] for name, column in columns.items()}) for row in range(count)
            ]
        except ValidationError as error:
            raise Problem("validation", tell_mistakes(error)) from None


def _version(predictor: Predictor) -> str:
    return predictor.name.digest[:VERSION_LENGTH]


def _check_version(predictor: Predictor, version: str | None) -> None:
    """Raise Problem where another version of the model is asked for."""
    known = _version(predictor)
    if version is not None and version != known:
        raise Problem("model_not_found", f"{predictor.name.name} has no version {quote(version)}, but {known}")


def _fields(predictor: Predictor) -> dict[str, bool]:
    """The fields of an item, and whether each holds a list of texts."""
    described = predictor.task.item.model_fields
    return {name: field.annotation is not str for name, field in described.items() if name != "id"}


def _describe_inputs(predictor: Predictor) -> list[dict[str, Any]]:
    return [
        {"name": name, "datatype": "BYTES", "shape": [-1, -1] if is_list else [-1]}
        for name, is_list in _fields(predictor).items()
    ]


def _as_config(tensor: dict[str, Any]) -> dict[str, Any]:
    return {"name": tensor["name"], "data_type": CONFIG_TYPES[tensor["datatype"]], "dims": tensor["shape"]}


def _header_length() -> int | None:
    """The length of the JSON of a binary body; None where the whole body is JSON."""
    context = current_request.get()
    value = context.header(HEADER_LENGTH.lower().encode())
    if value is None:
        return None
    if not value.isdigit() or len(value) > 9 or int(value) > len(context.body):
        raise Problem("bad_request", f"{HEADER_LENGTH} is the length of the JSON, at most that of the body")
    return int(value)


def _respond(predictor: Predictor, request: InferenceRequest, outputs: dict[str, OutputTensor]) -> Response:
    """The answer with the outputs that were asked for, or with all."""
    wanted = list(outputs) if request.outputs is None else [one.name for one in request.outputs]
    unknown = [name for name in wanted if name not in outputs]
    if unknown:
        names = ", ".join(map(quote, unknown))
        raise Problem("validation", f"{predictor.name.name} gives the outputs {', '.join(outputs)}, not {names}")
    body: dict[str, Any] = {"model_name": predictor.name.name, "model_version": _version(predictor), "outputs": []}
    if request.id:
        body["id"] = request.id
    tail: list[bytes] = []
    for name in wanted:
        tensor: dict[str, Any] = {"name": name, "datatype": outputs[name].datatype, "shape": outputs[name].shape}
        if request.wants_binary(name):
            tail.append(write_binary(outputs[name]))
            tensor["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            tensor["data"] = outputs[name].data
        body["outputs"].append(tensor)
    response = respond_json(body)
    if not tail:
        return response
    headers = {HEADER_LENGTH: str(len(response.body))}
    return Response(bytes(response.body) + b"".join(tail), headers=headers, media_type="application/octet-stream")
