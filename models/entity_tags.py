"""The schemes by which data sets tag the words of entities, made into BIO.

- BIO (IOB2): `B-` begins every entity, `I-` goes on with it.
- IOB1: `I-` begins an entity too, and `B-` only one that follows another of its kind without a gap.
- BIOES and BILOU: `E-` or `L-` ends an entity, `S-` or `U-` is one of a single word.
- Kinds alone: neighbours of one kind are one entity.
"""

import re
from collections.abc import Callable, Sequence

OUTSIDE = "O"

_TAG = re.compile(r"([BIESLU])-(.+)", re.IGNORECASE | re.DOTALL)
_BEGINS = "BSU"
_ENDS = "ESLU"


def as_bio(tags: Sequence[str]) -> list[str]:
    """The tags of one text in BIO, whatever their scheme; a tag that goes on with nothing begins an entity."""
    bio = []
    going_on: str | None = None
    for tag in tags:
        if tag.upper() == OUTSIDE:
            bio.append(OUTSIDE)
            going_on = None
            continue
        found = _TAG.fullmatch(tag)
        # A kind alone goes on with its like, as a tag with `I-` does.
        place, kind = (found[1].upper(), found[2]) if found else ("I", tag)
        bio.append(f"{'B' if place in _BEGINS or kind != going_on else 'I'}-{kind}")
        going_on = None if place in _ENDS else kind
    return bio


def rename_kind(tag: str, rename: Callable[[str], str]) -> str:
    """The tag with another name for its kind; the letter before it stays. Without one it is outside of entities."""
    found = _TAG.fullmatch(tag)
    if found is None:
        return tag
    kind = rename(found[2])
    return f"{found[1]}-{kind}" if kind not in ("", OUTSIDE) else OUTSIDE
