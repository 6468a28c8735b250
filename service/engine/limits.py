"""How much an engine holds."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EngineLimits:
    """How much an engine holds; rows handed in together are let into an empty queue however many they are."""

    queued_rows: int = 4_096
    queued_tokens: int = 131_072
    batch_tokens: int = 512
    """Tokens of one batch, padding included; a longer row is a batch of its own."""
