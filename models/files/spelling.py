"""Spells values where a file holds nothing but text or JSON."""

import base64
import json
import math
from typing import Any


def as_text(value: Any) -> str:
    """JSON for values that JSON knows, so that they can be read back; plain text for others, such as dates."""
    return as_json(value) if isinstance(value, bool | int | float | list | tuple | dict) else spell(value)


def as_json(value: Any) -> str:
    """The value as JSON in one line; what JSON does not know is spelled."""
    return json.dumps(_without_nan(value), ensure_ascii=False, allow_nan=False, default=spell)


def spell(value: Any) -> str:
    """Dates, times, decimals and UUIDs as they are usually written; bytes in base64."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _without_nan(value: Any) -> Any:
    """The value with null for NaN, which JSON does not have and data frames write for a missing number."""
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
