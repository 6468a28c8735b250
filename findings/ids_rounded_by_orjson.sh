#!/bin/sh
# orjson 3.13.0, pyarrow 26.0.1: a whole number of more than 64 bits is read as a float, and nothing is said.
#
# Guess: it is read as it is, as json does, or refused: `orjson.dumps` refuses such a number with an error that names 64 bits, so
# that `loads` was thought to be as strict. JSON itself sets no bound.
#
# Seen: `loads` gives a float, and the last digits are gone. Two ids that differ in them become equal, and `dumps` then writes
# them as 1.2345678901234568e+29. pyarrow does the same to a whole column as soon as one of its numbers is so large, so that the
# ids that would have fitted are rounded with it. json, msgspec, ujson, python-rapidjson, ijson and polars keep all digits;
# pysimdjson and pandas refuse the text.
#
# Whom it hurts: whose records carry hashes or UUIDs as numbers, or, with pyarrow, other ids beside them: predictions are joined to
# the wrong records, or to none, after a reader was exchanged for a faster one.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q orjson==3.13.0 pyarrow==26.0.1 msgspec==0.23.0 ujson==6.1.0 \
    python-rapidjson==1.25 ijson==3.6.0 polars==2.1.0 pysimdjson==7.0.2 pandas==3.1.1
"$folder/venv/bin/python" - <<'PYTHON'
import io
import json

import ijson
import msgspec
import orjson
import pandas
import polars
import pyarrow.json
import rapidjson
import simdjson
import ujson

IDS = (9007199254740993, 123456789012345678901234567890, 123456789012345678901234567891)
LINES = "".join(f'{{"id": {number}}}\n' for number in IDS)
READERS = {
    "json": json.loads,
    "msgspec": msgspec.json.decode,
    "ujson": ujson.loads,
    "rapidjson": rapidjson.loads,
    "ijson": lambda text: next(ijson.items(io.StringIO(text), "")),
    "orjson": orjson.loads,
    "simdjson": simdjson.loads,
}
FRAMES = {
    "polars": lambda: polars.read_ndjson(io.BytesIO(LINES.encode()))["id"].to_list(),
    "pyarrow": lambda: pyarrow.json.read_json(io.BytesIO(LINES.encode()))["id"].to_pylist(),
    "pandas": lambda: list(pandas.read_json(io.StringIO(LINES), lines=True)["id"]),
}


def read(reader):
    try:
        return reader()
    except (ValueError, RuntimeError) as error:
        return f"refused: {error}"


found = {name: read(lambda: [one(line)["id"] for line in LINES.splitlines()]) for name, one in READERS.items()}
found |= {name: read(reader) for name, reader in FRAMES.items()}
for name, ids in found.items():
    print(f"{name:10}", ids)
for name in ("json", "msgspec", "ujson", "rapidjson", "ijson", "polars"):
    assert found[name] == list(IDS), name
assert found["orjson"][0] == IDS[0]
assert found["orjson"][1] == found["orjson"][2] == float(IDS[1])
assert found["pyarrow"] == [float(number) for number in IDS]
assert found["pyarrow"][0] != IDS[0]
assert all(str(found[name]).startswith("refused") for name in ("simdjson", "pandas"))
try:
    orjson.dumps(IDS[1])
except TypeError as error:
    print("dumps     ", error)
    assert "64-bit" in str(error)
else:
    raise AssertionError("dumps takes what it refused")
PYTHON
