"""The records of an input that a run answers: all, or a shard, the first ones or a sample of them."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from models.errors import UserError
from models.files.rows import Block


class BadSelection(UserError):
    """Records were asked for that no input can have."""


@dataclass(frozen=True)
class Shard:
    """One of several parts of an input that follow one another and are as long as each other, to a record."""

    number: int
    """Counted from 1."""
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read a shard as it is written, `2/8`; raises BadSelection."""
        number, slash, of = text.partition("/")
        if not (slash and number.isascii() and number.isdigit() and of.isascii() and of.isdigit()):
            raise BadSelection(f"--shard {text}: write which of how many, such as 2/8")
        if not 1 <= int(number) <= int(of):
            raise BadSelection(f"--shard {text}: the first number goes from 1 to the second")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Picks records: first those of the shard, of these the first ones, and of these a sample."""

    shard: Shard | None = None
    limit: int | None = None
    sample: int | None = None
    """How many records to draw; the draw depends only on this number and on how many there are."""

    def __post_init__(self) -> None:
        for option, number in (("limit", self.limit), ("sample", self.sample)):
            if number is not None and number < 1:
                raise BadSelection(f"--{option} {number}: name a number of records, at least 1")

    def pick(self, records: int) -> list[range]:
        """The places of the records to answer, counted from 0, in order and as long ranges as there are."""
        start, stop = 0, records
        if self.shard:
            start, stop = (records * place // self.shard.of for place in (self.shard.number - 1, self.shard.number))
        if self.limit is not None:
            stop = min(stop, start + self.limit)
        if self.sample is None or self.sample >= stop - start:
            return [range(start, stop)]
        return list(_join(sorted(random.Random(0).sample(range(start, stop), self.sample))))

    def describe(self) -> dict[str, Any]:
        """The selection as JSON can hold it."""
        return {"shard": str(self.shard) if self.shard else None, "limit": self.limit, "sample": self.sample}


def divide(ranges: Sequence[range], lengths: Sequence[int]) -> list[list[range]]:
    """The part of the ranges that falls into each of several stretches, which follow one another from 0 on."""
    divided = []
    left = list(reversed(ranges))
    for end, length in zip(accumulate(lengths), lengths, strict=True):
        start, here = end - length, []
        while left and left[-1].start < end:
            one = left.pop()
            here.append(range(one.start - start, min(one.stop, end) - start))
            if one.stop > end:
                left.append(range(end, one.stop))
        divided.append(here)
    return divided


def cut(blocks: Iterator[Block], ranges: Sequence[range]) -> Iterator[Block]:
    """The records of the blocks at these places, counted from 0; reads no farther than to the last of them."""
    wanted = iter(ranges)
    one = next(wanted, None)
    if one is None:
        return
    for block in blocks:
        start, stop = block.first - 1, block.first - 1 + len(block)
        while one and one.start < stop:
            low, high = max(one.start, start), min(one.stop, stop)
            if low < high:
                yield block if high - low == len(block) else block.cut(low - start, high - start)
            if one.stop > stop:
                break
            one = next(wanted, None)
        if one is None:
            return


def _join(places: Sequence[int]) -> Iterator[range]:
    start = stop = places[0]
    for place in places:
        if place != stop:
            yield range(start, stop)
            start = place
        stop = place + 1
    yield range(start, stop)
