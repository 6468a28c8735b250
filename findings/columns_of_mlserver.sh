#!/bin/sh
# mlserver 1.7.1, numpy, pandas 3.1.1: a vector that its codec writes comes back as a matrix of one column, and a comparison with it is a
# table.
#
# Guess: what `NumpyCodec.encode_input` writes, `decode_input` of the same codec reads back: shape and values. Matrices and
# scalars without dimensions were thought to be the doubtful ones.
#
# Seen: shape (n,) goes out as [n, 1] and stays so. `scores == labels` then has n times n entries by broadcasting, and its mean is
# no accuracy: with every answer right it is the chance that two labels are equal. Texts are no exception. And a pandas column of texts
# is refused with KeyError 'O' by the pandas that pip installs beside it, which has a type of its own for text.
#
# Whom it hurts: who checks a server by comparing its answers with labels in numpy: no error, and a figure that looks likely.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q mlserver==1.7.1 pandas==3.1.1
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import pandas as pd
from mlserver.codecs import NumpyCodec, PandasCodec
from mlserver.types import ResponseOutput


def back(array):
    """The array as a client decodes it from the JSON that a server encoded."""
    sent = NumpyCodec.encode_output("answer", array).model_dump_json()
    return NumpyCodec.decode_output(ResponseOutput.model_validate_json(sent))


labels = np.array([0, 1] * 50)
for array in (labels, labels.astype("f4"), np.where(labels, "yes", "no"), labels.reshape(50, 2)):
    print(array.dtype, array.shape, "comes back as", back(array).shape)
    assert back(array).shape == (array.shape if array.ndim == 2 else (*array.shape, 1))
right = back(labels) == labels
print("every answer right; shape of the comparison", right.shape, "mean", right.mean())
assert right.shape == (100, 100) and right.mean() == 0.5
try:
    PandasCodec.encode_request(pd.DataFrame({"text": ["good", "bad"]}))
except KeyError as error:
    print("a column of texts:", type(error).__name__, error)
else:
    raise AssertionError("a column of texts is taken now")
PYTHON
