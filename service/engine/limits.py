"""The limits of an engine: the rows that it lets in, and the size of its batches."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EngineLimits:
    """The room that one model's queue has for each tenant, and the size of its batches.

    Rows that are handed in together are let in, however many they are, where no row of the same tenant waits.
    """

    queued_rows: int = 4_096
    queued_tokens: int = 131_072
    batch_tokens: int = 512
    """Most tokens in a batch, padding included. A row that is longer is a batch of its own."""
