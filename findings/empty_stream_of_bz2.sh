#!/bin/sh
# pyarrow 26.0.1: a bz2 file with an empty stream between two others cannot be read, though every other reader takes it.
#
# Guess: parts that were compressed one by one and put behind each other with cat are read as one, whichever part is empty,
# as bzip2, Python's bz2 and, for gzip, zstd and lz4, Arrow itself do.
#
# Seen: an empty stream at the beginning, at the end or alone is read. Between two others it ends the read with "wrong
# sequence of calls to bz2 library (internal error)", an ArrowException, which is no OSError and no ValueError: who catches
# those for a damaged file does not catch it. The file is not damaged.
#
# Whom it hurts: who joins the compressed shards of a run, one of which had nothing to write, and reads them by pyarrow's csv
# or JSON reader, or by datasets and dask on top of it. Compress again as one stream, or read by Python's bz2.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q pyarrow==26.0.1 zstandard==0.25.0 lz4==4.4.5
"$folder/venv/bin/python" - <<'PYTHON'
import bz2
import gzip

import lz4.frame
import pyarrow as pa
import zstandard

FIRST, SECOND = b"text\nfine\n", b"dull\n"
PLACES = {
    "at the beginning": (b"", FIRST, SECOND),
    "between two": (FIRST, b"", SECOND),
    "at the end": (FIRST, SECOND, b""),
}
CODECS = {"bz2": bz2.compress, "gzip": gzip.compress, "zstd": zstandard.compress, "lz4": lz4.frame.compress}


def read(data, codec):
    try:
        return pa.input_stream(pa.py_buffer(data), compression=codec).read() == FIRST + SECOND
    except Exception as error:
        return error


for codec, compress in CODECS.items():
    for place, parts in PLACES.items():
        data = b"".join(map(compress, parts))
        found = read(data, codec)
        print(f"{codec}, empty stream {place}: {'read whole' if found is True else repr(found)}")
        if (codec, place) == ("bz2", "between two"):
            assert bz2.decompress(data) == FIRST + SECOND
            assert isinstance(found, pa.ArrowException) and not isinstance(found, (OSError, ValueError))
        else:
            assert found is True
PYTHON
