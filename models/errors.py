"""The root of every error that the user can put right, and how a mistake in a file or a request is named."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(ValueError):
    """Says in one sentence what was wrong, what is accepted and what to do; the command line shows no traceback.

    An error of any other class is a bug, unless the operating system raised it.
    """


class UserNotice(UserWarning):
    """Says in one sentence what goes on otherwise than was asked for; the command line shows no more than that."""


LONGEST_NAME = 100
"""Most characters of a name or a value of the user's that a message repeats."""


def shorten(text: str, most: int = LONGEST_NAME) -> str:
    """The text, cut at `most` characters, of which the last is then an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


HALF_A_CHARACTER = "holds half of a character, as where a text was cut inside an emoji; send whole characters"
_HALF_ESCAPES = ("lone leading surrogate in hex escape", "unexpected end of hex escape")
"""The JSON parser's words for an escape such as `\\ud83d`, one half of a pair (UTF-16), without the other."""

_PLAIN = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "string_type": "must be a text",
    "string_unicode": HALF_A_CHARACTER,
    "string_too_short": "must have at least {min_length} {characters}",
    "string_too_long": "must have at most {max_length} {characters}",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "too_short": "must hold at least {min_length} {entries}",
    "too_long": "must hold at most {max_length} {entries}",
    "literal_error": "must be {expected}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_pattern_mismatch": "must match {pattern}",
    "json_invalid": "is no JSON: {error}",
}
"""Sentences by the kind of a mistake; pydantic's own speak of Python."""


MOST_MISTAKES = 1_000
"""Most mistakes of one value that are looked at: pydantic lists all or none, and a list of half a million takes
seconds."""


MOST_TOLD = 3
"""Most mistakes of one record that a sentence tells, one after another."""


class Mistake(NamedTuple):
    """One value that does not fit its field."""

    place: str
    """Path of the field, such as `data.0.rows`; empty where the whole value is at fault."""
    reason: str
    given: Any

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}" if self.place else self.reason


def describe_mistake(mistake: Mapping[str, Any]) -> str:
    """A plain sentence for one entry of pydantic's list of errors: it says what is wrong, and what is accepted."""
    plain = _PLAIN.get(mistake["type"])
    context = mistake.get("ctx", {})
    if mistake["type"] == "json_invalid" and context["error"].startswith(_HALF_ESCAPES):
        return HALF_A_CHARACTER
    if plain is None:
        # Errors that validators of ours raise are plain already.
        return str(mistake["msg"]).removeprefix("Value error, ")
    most = context.get("max_length", context.get("min_length"))
    nouns = {"characters": "character", "entries": "entry"} if most == 1 else {}
    bounds = {name: _count(value) for name, value in context.items() if isinstance(value, int | float)}
    return plain.format_map({"characters": "characters", "entries": "entries"} | nouns | context | bounds)


def _count(number: float) -> str:
    return f"{int(number):,}" if number == int(number) else f"{number:,}"


def say_how_many(error: "ValidationError") -> str:
    """A plain sentence for more mistakes than are looked at."""
    return f"holds {error.error_count():,} mistakes, more than are listed"


def leave_out_echoes(mistakes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Pydantic's list of errors without those of lists that it calls too short because an entry is a mistake itself."""
    places = [one["loc"] for one in mistakes]
    return [
        one
        for one in mistakes
        if one["type"] != "too_short"
        or not any(len(place) > len(one["loc"]) and place[: len(one["loc"])] == one["loc"] for place in places)
    ]


def first_mistake(error: "ValidationError") -> Mistake:
    """The first mistake that pydantic found; as text it reads `place: reason`."""
    if error.error_count() > MOST_MISTAKES:
        return Mistake("", say_how_many(error), None)
    return _read(error.errors()[0])


def tell_mistakes(error: "ValidationError") -> str:
    """The mistakes as one sentence, `place: reason` each: the first three, and how many more there are."""
    if error.error_count() > MOST_MISTAKES:
        return say_how_many(error)
    found = leave_out_echoes(error.errors())
    more = f", and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    return "; ".join(str(_read(one)) for one in found[:MOST_TOLD]) + more


def _read(mistake: Mapping[str, Any]) -> Mistake:
    return Mistake(".".join(shorten(str(part)) for part in mistake["loc"]), describe_mistake(mistake), mistake["input"])
