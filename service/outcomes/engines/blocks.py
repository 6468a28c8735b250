"""Blocks of records: the pieces of work that other processes are handed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from service.outcomes.answering import Failure
from service.outcomes.records import Values

BLOCK_RECORDS = 512
"""Most records of a block. Among so many the engine finds rows of similar length for its batches."""

BLOCK_CHARACTERS = 200_000
"""Characters after which a block ends: some seconds of work, however long the texts are."""


@dataclass(frozen=True)
class Block:
    """Records that follow one another."""

    number: int
    """Its place among the blocks, from 0."""
    records: tuple[Values | Failure, ...]


def cut_blocks(records: Iterable[Values | Failure]) -> Iterator[Block]:
    """The records in blocks, in their order; none is empty."""
    number, block, characters = 0, list[Values | Failure](), 0
    for record in records:
        block.append(record)
        characters += 0 if isinstance(record, Failure) else sum(len(str(value)) for value in record.values())
        if len(block) >= BLOCK_RECORDS or characters >= BLOCK_CHARACTERS:
            yield Block(number, tuple(block))
            number, block, characters = number + 1, [], 0
    if block:
        yield Block(number, tuple(block))
