"""The root of every error that the user can put right, and how a mistake in a file or a request is named."""

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(ValueError):
    """Says in one sentence what was wrong, what is accepted and what to do; the command line shows no traceback.

    An error of any other class is a bug, unless the operating system raised it.
    """


LONGEST_NAME = 100
"""Most characters of a name or a value of the user's that a message repeats."""


def shorten(text: str, most: int = LONGEST_NAME) -> str:
    """The text, cut at `most` characters, of which the last is then an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


_PLAIN = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "string_type": "must be a text",
    "model_type": "must be an object with the fields of an input",
    "tuple_type": 'must be a list, such as ["walk", "drive"]',
    "list_type": 'must be a list, such as ["walk", "drive"]',
}
"""Sentences by the kind of a mistake, where pydantic's own speak of Python."""


class Mistake(NamedTuple):
    """One value that does not fit its field."""

    place: str
    """Path of the field, such as `data.0.rows`; empty where the whole value is at fault."""
    reason: str
    given: Any

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}" if self.place else self.reason


def first_mistake(error: "ValidationError") -> Mistake:
    """The first mistake that pydantic found; as text it reads `place: reason`."""
    found = error.errors()[0]
    reason = _PLAIN.get(found["type"], found["msg"].removeprefix("Value error, "))
    return Mistake(".".join(shorten(str(part)) for part in found["loc"]), reason, found["input"])
