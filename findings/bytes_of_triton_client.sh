#!/bin/sh
# tritonclient 2.62.0 (HTTP): BYTES come back as str or as bytes, and a missing text goes out as the word "None".
#
# Guess: `as_numpy` of a BYTES output gives one type, whichever form the answer took on its way; numpy's own arrays of
# strings are the plainest input for BYTES; and None among the texts is refused, as it is no text.
#
# Seen: the elements are bytes where the answer was binary and str where it was JSON, which the caller chooses by
# `binary_data` of another object. An array of str as numpy makes it (dtype U) is refused with "unexpected datatype None"; it
# has to be cast to object. In such an array None becomes the four letters "None", in both forms, without a word.
#
# Whom it hurts: whoever compares labels (`label == "positive"` is false for all of them once the answer is binary, which is the
# default), and who scores a column with gaps, where rows without a text get the answer for "None". Decode by type, and
# drop or fill the gaps before `set_data_from_numpy`.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q "tritonclient[http]==2.62.0" numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import json
import struct

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferResult
from tritonclient.utils import InferenceServerException


def read(binary):
    """What `as_numpy` makes of one answer with two labels, in either form of the protocol."""
    labels = ["positive", "negative"]
    tail = b"".join(struct.pack("<I", len(label)) + label.encode() for label in labels) if binary else b""
    form = {"parameters": {"binary_data_size": len(tail)}} if binary else {"data": labels}
    answer = {"model_name": "m", "outputs": [{"name": "label", "datatype": "BYTES", "shape": [2], **form}]}
    head = json.dumps(answer).encode()
    return InferResult.from_response_body(head + tail, header_length=len(head) if binary else None).as_numpy("label")


def sent(texts, binary):
    """The body of a request with these texts."""
    tensor = InferInput("text", list(texts.shape), "BYTES")
    tensor.set_data_from_numpy(texts, binary_data=binary)
    return bytes(InferenceServerClient.generate_request_body([tensor])[0])


for binary, kind in ((True, bytes), (False, str)):
    labels = read(binary)
    print(f"binary {binary}: labels {labels.tolist()}, equal to 'positive': {(labels == 'positive').tolist()}")
    assert {type(label) for label in labels} == {kind}
    assert (labels == "positive").any() == (kind is str)

    body = sent(np.array(["good", None], dtype=object), binary)
    print(f"binary {binary}: ['good', None] is sent as {body[-60:]}")
    assert b"None" in body and b"null" not in body
    try:
        sent(np.array(["good", "bad"]), binary)
    except InferenceServerException as error:
        print(f"binary {binary}: array of dtype U: {error}")
        assert "datatype None" in str(error)
    else:
        raise AssertionError("an array of dtype U was accepted")
PYTHON
