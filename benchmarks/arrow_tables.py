"""Tables with a column of every type that Arrow files hold, and values at the edges of each."""

from decimal import Decimal

import numpy as np
import pyarrow as pa


def every_type(rows: int, seed: int = 0) -> pa.Table:
    """A table of so many rows; about one value in ten is null."""
    generator = np.random.default_rng(seed)
    numbers = pa.array(generator.integers(-(2**62), 2**62, rows), mask=generator.random(rows) < 0.1)
    small = pa.array(generator.integers(0, 100, rows), mask=generator.random(rows) < 0.1)
    texts = small.cast(pa.string())
    columns: dict[str, pa.Array] = {
        **{str(kind): small.cast(kind) for kind in (pa.int8(), pa.int16(), pa.uint8(), pa.uint16(), pa.uint32())},
        "int64": numbers,
        "float16": small.cast(pa.float32()).cast(pa.float16()),
        "float32": pa.array(generator.random(rows, np.float32)),
        "float64": pa.array([np.nan, np.inf, -0.0, *generator.random(max(0, rows - 3))][:rows]),
        "bool": pa.array(generator.random(rows) < 0.5),
        "decimal128": pa.array([Decimal(int(one)).scaleb(-2) for one in generator.integers(0, 10**9, rows)]),
        "string": texts,
        "large_string": texts.cast(pa.large_string()),
        "binary": texts.cast(pa.binary()),
        "fixed_binary": pa.array([bytes(generator.bytes(4)) for _ in range(rows)], pa.binary(4)),
        "dictionary": texts.dictionary_encode(),
        "date32": pa.array(generator.integers(-800_000, 5_000_000, rows), pa.int32()).cast(pa.date32()),
        **{f"timestamp_{unit}": numbers.cast(pa.timestamp(unit)) for unit in ("us", "ns")},
        "timestamp_zone": numbers.cast(pa.timestamp("ns", "Europe/Paris")),
        "time64_ns": small.cast(pa.int64()).cast(pa.time64("ns")),
        "time32_ms": small.cast(pa.int32()).cast(pa.time32("ms")),
        "duration_ns": numbers.cast(pa.duration("ns")),
        "uint64": small.cast(pa.uint64()),
        "int32": small.cast(pa.int32()),
        "null": pa.nulls(rows),
        "large_binary": texts.cast(pa.large_binary()),
        "time32_s": small.cast(pa.int32()).cast(pa.time32("s")),
        "time64_us": small.cast(pa.int64()).cast(pa.time64("us")),
        "duration_ms": small.cast(pa.int64()).cast(pa.duration("ms")),
        "timestamp_ms": small.cast(pa.int64()).cast(pa.timestamp("ms", "UTC")),
        "decimal256": pa.array([Decimal(int(one)) for one in generator.integers(0, 10**9, rows)], pa.decimal256(50, 3)),
        "list_of_structs": pa.array([[{"a": int(one), "b": None}] for one in generator.integers(0, 9, rows)]),
        "large_list": pa.array([[int(one)] for one in generator.integers(0, 9, rows)], pa.large_list(pa.int8())),
        "list_of_texts": pa.array([[str(one), None] for one in generator.integers(0, 9, rows)]),
        "struct_of_times": pa.StructArray.from_arrays([numbers.cast(pa.timestamp("ns"))], ["at"]),
        "list": pa.array([[int(one)] * int(one % 4) for one in generator.integers(0, 9, rows)]),
        "struct": pa.array([{"x": int(one), "y": [str(one)]} for one in generator.integers(0, 9, rows)]),
        "map": pa.array(
            [[("k", int(one))] for one in generator.integers(0, 9, rows)], pa.map_(pa.string(), pa.int64())
        ),
        "fixed_list": pa.array([[1.5, float(one)] for one in range(rows)], pa.list_(pa.float32(), 2)),
    }
    fields = [pa.field(name, column.type, metadata={"of": name}) for name, column in columns.items()]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields, metadata={"made": "here"}))


def same_bits(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    """Whether two columns hold the same, where NaN is equal to itself, and 0 not to -0."""
    first, second = one.combine_chunks(), other.combine_chunks()
    if pa.types.is_dictionary(first.type) and first.type == second.type:
        # The order of a dictionary is that in which a file was read.
        first, second = first.dictionary_decode(), second.dictionary_decode()
    if pa.types.is_floating(first.type) and first.type == second.type:
        kind = {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[first.type.bit_width]
        first, second = first.view(kind), second.view(kind)
    return bool(first.type == second.type and first.equals(second))
