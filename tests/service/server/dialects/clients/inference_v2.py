"""Asks by Triton's client, in JSON and binary, plain and packed, for what stdin says, and prints the answers."""

import json
import sys
from typing import Any

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

FORMS = {
    "json": {"is_binary": False},
    "binary": {"is_binary": True},
    "gzip": {"is_binary": True, "request_compression_algorithm": "gzip", "response_compression_algorithm": "gzip"},
    "defaults": {"is_binary": True, "outputs": False},
}


def infer(model: str, columns: dict[str, Any], *, is_binary: bool, outputs: bool = True, **packing: str) -> Any:
    inputs = []
    for name, values in columns.items():
        array = np.array([text.encode() for text in np.ravel(values)], dtype=object)
        array = array.reshape(np.shape(values))
        tensor = InferInput(name, list(array.shape), "BYTES")
        tensor.set_data_from_numpy(array, binary_data=is_binary)
        inputs.append(tensor)
    names = [output["name"] for output in client.get_model_metadata(model)["outputs"]]
    wanted = [InferRequestedOutput(name, binary_data=is_binary) for name in names] if outputs else None
    answer = client.infer(model, inputs, outputs=wanted, request_id="a1", **packing)
    return {"id": answer.get_response()["id"], **{name: plain(answer.as_numpy(name)) for name in names}}


def plain(array: Any) -> Any:
    return [value.decode() if isinstance(value, bytes) else value for value in array.tolist()]


def ask(model: str, columns: dict[str, Any], form: str) -> Any:
    try:
        return infer(model, columns, **FORMS[form])  # type: ignore[arg-type]
    except InferenceServerException as error:
        return {"status": error.status(), "message": error.message()}


client = InferenceServerClient(sys.argv[1].removeprefix("http://"))
asked = json.load(sys.stdin)
model = asked[0][0]
json.dump(
    {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": [client.is_model_ready(model), client.is_model_ready("none")],
        "server": client.get_server_metadata(),
        "model": client.get_model_metadata(model),
        "config": client.get_model_config(model),
        "index": client.get_model_repository_index(),
        "answers": [{form: ask(name, columns, form) for form in FORMS} for name, columns in asked],
    },
    sys.stdout,
)
