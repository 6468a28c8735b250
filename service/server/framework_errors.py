"""Errors as BentoML and Starlette report them, turned into problems.

BentoML answers 400 with pydantic's list where the body does not fit, a JSON array with one message where a handler
raised, and plain text where Starlette raised. Callers get pydantic's list; the other messages are not passed on.
"""

import json
from collections.abc import Mapping, MutableMapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from models.errors import HALF_A_CHARACTER, describe_mistake, leave_out_echoes
from service.server.problems import Fault, Problem, pointer

_BY_STATUS = {
    401: ("unauthorized", "send one of the server's keys: Authorization: Bearer KEY"),
    404: ("not_found", "nothing is at this address; GET /v1/models lists the models"),
    405: ("method_not_allowed", "this address takes {allow}"),
    415: ("unsupported_media_type", "send Content-Type: application/json, in UTF-8"),
    429: ("overloaded", "too many requests at once; try again later"),
    503: ("not_ready", "the models are not loaded; GET /readyz tells when they are"),
    504: ("deadline_exceeded", "the answer took too long; send fewer or shorter inputs at once"),
}
_WHERE_TO_LOOK = {
    "extra_forbidden": "; GET /docs.json lists the fields",
    "model_type": "; GET /docs.json lists its fields",
}
_KEPT_HEADERS = (b"allow", b"retry-after")


def translate(start: MutableMapping[str, Any], body: bytes, request_body: bytes) -> Problem:
    """The problem that an ASGI answer of status 400 or more reports."""
    status = start["status"]
    mistakes = _validation_mistakes(body) if status == 400 else []
    if mistakes:
        return explain_mistakes(mistakes, request_body)
    headers = {name.decode(): value.decode() for name, value in start["headers"] if name.lower() in _KEPT_HEADERS}
    fallback = (
        ("bad_request", "the request cannot be understood")
        if status < 500
        else ("internal", "an unexpected error; the server's log has it under this id")
    )
    code, detail = _BY_STATUS.get(status, fallback)
    return Problem(code, detail.format(allow=headers.get("allow", "another method")), headers=headers)


def explain_mistakes(
    mistakes: Sequence[Mapping[str, Any]], request_body: bytes, inside: Mapping[str, str] = MappingProxyType({})
) -> Problem:
    """The problem of a body that does not fit, from pydantic's list of errors.

    `inside` has fields that belong inside another, by their names.
    """
    first = mistakes[0]
    if first["type"] == "json_invalid":
        reason = describe_mistake(first)
        cure = "" if reason == HALF_A_CHARACTER else "; send one object in UTF-8"
        return Problem("malformed_json", f"the body {reason}{cure}")
    if not _is_strict_json(request_body):
        return Problem("malformed_json", "NaN and Infinity are no JSON; send numbers or null")
    mistakes = leave_out_echoes(mistakes)
    faults = [_fault(mistake, inside) for mistake in mistakes]
    if any(mistake["type"] == "too_long" and mistake["loc"] == ["inputs"] for mistake in mistakes):
        return Problem("too_many_items", f"/inputs {faults[0].detail}; send several requests", faults)
    told = [f"{fault.pointer or 'the body'}: {fault.detail}" for fault in _most_telling(mistakes, faults)]
    more = f", and {len(faults) - len(told)} more" if len(faults) > len(told) else ""
    return Problem("validation", f"{'; '.join(told)}{more}", faults)


def _most_telling(mistakes: Sequence[Mapping[str, Any]], faults: list[Fault]) -> list[Fault]:
    """The first fault, and the first unknown field: where another is missing, it is often that one, mistyped."""
    unknown = (fault for mistake, fault in zip(mistakes, faults, strict=True) if mistake["type"] == "extra_forbidden")
    other = next(unknown, faults[0])
    return faults[:1] if other is faults[0] else [faults[0], other]


def _fault(mistake: Mapping[str, Any], inside: Mapping[str, str]) -> Fault:
    place, kind = mistake["loc"], mistake["type"]
    if kind == "extra_forbidden" and len(place) == 1 and (outer := inside.get(place[0])):
        cure = f'; send it inside {outer}, as in {{"{outer}": {{"{place[0]}": ...}}}}'
    elif inside and list(place) == ["inputs"] and kind in ("list_type", "missing"):
        cure = '; send {"inputs": [...]} with a text or an object for each answer'
    else:
        cure = _WHERE_TO_LOOK.get(kind, "")
    return Fault(pointer=pointer(*place), detail=describe_mistake(mistake) + cure)


def _validation_mistakes(body: bytes) -> list[dict[str, Any]]:
    try:
        answer = json.loads(body)
    except ValueError:
        return []
    mistakes = answer.get("detail", []) if isinstance(answer, dict) else []
    return mistakes if isinstance(mistakes, list) else []


def _is_strict_json(body: bytes) -> bool:
    """Whether a body that pydantic could parse is JSON without the constants that only pydantic accepts."""
    if b"NaN" not in body and b"Infinity" not in body:
        return True
    try:
        json.loads(body, parse_constant=_refuse)
    except ValueError:
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
