"""The OpenAPI document, made from the pydantic types of requests and answers.

BentoML's own document knows neither problem documents nor mounted addresses, and drops `null` where it is allowed.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from models.tasks import ENDPOINTS
from models.tasks.task import AnyTask
from service.answers.contract import ModelCard, ModelList, Reload, answer_type, request_type
from service.server.dialects import DOCUMENTS
from service.server.dialects.dialect import Operation
from service.server.problems import CONTENT_TYPE, KINDS, ProblemDocument

_ANSWER_ERRORS = (400, 401, 404, 405, 408, 413, 415, 422, 429, 500, 503, 504)
_RELOAD_ERRORS = (400, 401, 408, 409, 413, 415, 422, 500, 503)
_LOOKUP_ERRORS = (401, 404, 405, 500, 503)

_REFERENCE = "#/components/schemas/{model}"
_OWN = "Steadfast"
"""The tag of our own protocol."""

_KEYS = {
    "key": {"type": "http", "scheme": "bearer"},
    "admin_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "For changes of the server, where it has such keys; else a key by loopback only.",
    },
}

_TIMEOUT_HEADER = {
    "name": "X-Request-Timeout-Ms",
    "in": "header",
    "description": "After so many milliseconds the answer is of no more use: a 504 comes instead.",
    "schema": {"type": "integer", "minimum": 1},
}


def describe_api(max_items: int) -> dict[str, Any]:
    """The document of a server that answers at the endpoints of all tasks."""
    types: list[type[BaseModel]] = [ModelCard, ModelList, Reload, ProblemDocument]
    paths: dict[str, Any] = {
        "/v1/models": _list_and_change(),
        "/v1/models/{task}": {
            "get": _operation("model", "The default of a task.", ModelCard) | {"parameters": [_parameter("task")]}
        },
        "/metrics": {"get": _text("metrics", "The server's counts, for Prometheus.")},
        "/livez": {"get": _health("livez", "Whether the process answers.")},
        "/readyz": {
            "get": _health("readyz", "Whether every model is loaded and gives what it gave where it was made.")
        },
    }
    types += _describe_tasks(paths, max_items)
    # By "validation" a field with a default is not required: answers may leave `errors` out.
    mode: JsonSchemaMode = "validation"
    _, definitions = models_json_schema([(kind, mode) for kind in types], ref_template=_REFERENCE)
    for operations in paths.values():
        for operation in operations.values():
            operation["tags"] = [_OWN]
    schemas, others = definitions["$defs"], _describe_dialects(paths)
    if any(schemas.get(name, schema) != schema for name, schema in others.items()):
        raise RuntimeError(f"two types of one name, which the document would mix up: {schemas.keys() & others}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "Steadfast", "description": "Robust text models over HTTP.", "version": "1"},
        "tags": [
            {"name": _OWN, "description": "Our own protocol."},
            *({"name": one.tag, "description": one.describes} for one in DOCUMENTS),
        ],
        "paths": paths,
        # The empty entry stands for servers without keys, which take any request.
        "security": [{"key": []}, {}],
        "components": {
            "schemas": schemas | others,
            "securitySchemes": _KEYS,
        },
    }


def _describe_tasks(paths: dict[str, Any], max_items: int) -> list[type[BaseModel]]:
    """Add the addresses of all tasks to `paths`; returns the types of their requests and answers."""
    types: list[type[BaseModel]] = []
    for endpoint, tasks in ENDPOINTS.items():
        request, answer = request_type(tasks[0], max_items), answer_type(*tasks)
        types += [request, answer]
        described = " Or: ".join(task.answer.__doc__ or "" for task in tasks)
        paths[f"/v1/{endpoint}"] = {
            "post": _operation(endpoint, described, answer, _ANSWER_ERRORS)
            | {
                "parameters": [_TIMEOUT_HEADER],
                "requestBody": {
                    "required": True,
                    "content": _content("application/json", request, _examples(tasks)),
                },
            }
        }
    return types


def _describe_dialects(paths: dict[str, Any]) -> dict[str, Any]:
    """Add the addresses of other protocols to `paths`; returns the schemas that they name."""
    mode: JsonSchemaMode = "validation"
    operations = [(document, one) for document in DOCUMENTS for one in document.operations]
    kinds = {
        (one.name, part): kind
        for document, one in operations
        for part, kind in (("body", one.body), ("answer", one.answer), ("error", document.error))
        if kind is not None
    }
    schemas, definitions = TypeAdapter.json_schemas(
        [(key, mode, TypeAdapter(kind)) for key, kind in kinds.items()], ref_template=_REFERENCE
    )
    for document, one in operations:
        parts = {name: schema for ((of, name), _), schema in schemas.items() if of == one.name}
        paths.setdefault(one.path, {})[one.method.lower()] = _foreign_operation(document.tag, one, parts)
    return dict(definitions["$defs"])


def _foreign_operation(tag: str, one: Operation, schemas: Mapping[str, Any]) -> dict[str, Any]:
    """An operation of another protocol, by the schemas of its body, its answer and its errors."""
    content = {part: {"application/json": {"schema": schema}} for part, schema in schemas.items()}
    failures = _ANSWER_ERRORS if one.method == "POST" else _LOOKUP_ERRORS
    success = {"content": content["answer"]} if "answer" in content else {}
    described: dict[str, Any] = {
        "operationId": one.name,
        "tags": [tag],
        "description": one.describes,
        "responses": {
            "200": {"description": "The answer." if success else "Yes.", **success},
            **{
                str(status): {"description": title, "content": content["error"]}
                for status, title in _titles(failures).items()
            },
        },
    }
    if "{model}" in one.path:
        described["parameters"] = [_parameter("model")]
    if "body" in content:
        examples = {"examples": {one.name: {"summary": "an example", "value": one.example}}}
        media = content["body"]["application/json"] | examples
        described["requestBody"] = {"required": True, "content": {"application/json": media}}
    return described


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _titles(failures: Iterable[int]) -> dict[int, str]:
    return {status: ", or ".join(kind.title for kind in KINDS.values() if kind.status == status) for status in failures}


def _list_and_change() -> dict[str, Any]:
    change = _operation("change", "Read the packages again; then as GET.", ModelList, _RELOAD_ERRORS)
    return {
        "get": _operation("models", "Every model with what its manifest says.", ModelList),
        "post": change
        | {
            "requestBody": {"required": True, "content": _content("application/json", Reload)},
            "security": [{"admin_key": []}, {"key": []}, {}],
        },
    }


def _operation(
    name: str, description: str, answer: type[BaseModel], failures: Iterable[int] = _LOOKUP_ERRORS
) -> dict[str, Any]:
    return {
        "operationId": name,
        "description": description,
        "responses": {
            "200": {"description": answer.__doc__ or "The answer.", "content": _content("application/json", answer)},
            **{
                str(status): {"description": title, "content": _content(CONTENT_TYPE, ProblemDocument)}
                for status, title in _titles(failures).items()
            },
        },
    }


def _text(name: str, description: str) -> dict[str, Any]:
    operation = _operation(name, description, ProblemDocument)
    operation["responses"]["200"] = {
        "description": "The text.", "content": {"text/plain": {"schema": {"type": "string"}}}
    }  # fmt: skip
    return operation


def _health(name: str, description: str) -> dict[str, Any]:
    failure = {"description": "Not yet, or no more.", "content": _content(CONTENT_TYPE, ProblemDocument)}
    return {
        "operationId": name,
        "description": description,
        "responses": {"200": {"description": "Yes."}, "503": failure},
    }


def _content(
    media_type: str, kind: type[BaseModel], examples: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    shown = {"examples": dict(examples)} if examples else {}
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}, **shown}}


def _examples(tasks: Iterable[AnyTask]) -> dict[str, Any]:
    """A request for each sample item of the tasks of an endpoint; `x-task` says which task's models read it."""
    return {
        f"{task.name}-{number}": {"summary": shows, "value": {"inputs": [item]}, "x-task": task.name}
        for task in tasks
        for number, (shows, item) in enumerate(task.sample_items.items(), start=1)
    }
