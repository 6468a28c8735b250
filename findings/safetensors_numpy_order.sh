#!/bin/sh
# safetensors 0.8.0 (against 0.7.0), numpy 2.4.6: a transposed array is saved without complaint and loads with its values
# in other places.
#
# Guess: `safetensors.numpy.save` copies what is not in row-major order, as 0.7.0 did, or keeps the order as numpy.save does, or
# refuses, as safetensors.torch does. Its documentation asks for contiguous and dense arrays; a transposed matrix is both.
#
# Seen: 0.8.0 writes the memory as it lies, under the shape of the view. Shape, dtype, size and checksum of the file all
# pass; only the values are in the wrong order. Byte order, the other way in which memory differs from meaning, is put right.
#
# Whom it hurts: who exports weights from numpy. Arrays in column order come from a plain `.T` (a dense kernel against an
# ONNX MatMul weight), numpy.linalg, scikit-learn (PCA, linear models) and Fortran code. A square matrix shows nothing at
# all, and an accuracy that drops is all that is seen. The cure is numpy.ascontiguousarray before saving.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
cat > "$folder/try.py" <<'PYTHON'
import sys

import numpy as np
from safetensors import __version__
from safetensors.numpy import load, save

RIGHT = sys.argv[1] == "right"
weight = np.arange(6, dtype=np.float32).reshape(2, 3)


def kept(name, array):
    loaded = load(save({"weight": array}))["weight"]
    assert loaded.shape == array.shape and loaded.dtype == array.dtype.newbyteorder("=")
    same = np.array_equal(loaded, array)
    print(f"safetensors {__version__}, {name}: {array.tolist()} loads as {loaded.tolist()}")
    return same


assert kept("row order", weight)
assert kept("other byte order", weight.astype(">f4"))
assert kept("transposed", weight.T) == RIGHT
assert kept("column order", np.asfortranarray(weight)) == RIGHT
assert kept("transposed and copied", np.ascontiguousarray(weight.T))
PYTHON
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q safetensors==0.7.0 numpy==2.4.6
"$folder/venv/bin/python" "$folder/try.py" right
"$folder/venv/bin/python" -m pip install -q safetensors==0.8.0
"$folder/venv/bin/python" "$folder/try.py" wrong
