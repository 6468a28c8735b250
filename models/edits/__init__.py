"""Changes of single words that leave the right answer as it was, by family: for attacks, certificates and training.

A new family is a module here and its name in `FAMILIES`.
"""

from collections.abc import Callable

from models.edits.family import Family
from models.edits.lookalikes import LOOKALIKES
from models.edits.names import NAMES
from models.edits.synonyms import any_sense_synonyms, frequent_synonyms
from models.edits.typos import EDGE_TYPOS, TYPOS
from models.errors import UserError

FAMILIES: dict[str, Callable[[], Family]] = {
    "typos": lambda: TYPOS,
    "typos+edges": lambda: EDGE_TYPOS,
    "synonyms": frequent_synonyms,
    "synonyms+any-sense": any_sense_synonyms,
    "unicode": lambda: LOOKALIKES,
    "names": lambda: NAMES,
}
"""Families by name; making one reads what it needs, such as WordNet, once a process."""


class UnknownFamily(UserError):
    """No family of edits has that name."""


def find_family(name: str) -> Family:
    """The family of a name; cheap after the first call.

    Raises:
        UnknownFamily: no family has that name; the message lists them.
        WordNetError: the family needs WordNet, and it is not installed here.
    """
    if name not in FAMILIES:
        raise UnknownFamily(f"no family of edits {name!r}; choose one of: {', '.join(FAMILIES)}")
    return FAMILIES[name]()
