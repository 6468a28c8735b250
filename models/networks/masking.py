"""Tokens hidden from the model, which must guess them (BERT, Devlin et al., NAACL 2019, section 3.1).

Each token of a text is chosen with a chance of 15 %. Then 80 % of these become the mask, 10 % become a token drawn
from the vocabulary, and 10 % stay. Special tokens are neither chosen nor drawn; the released BERT code draws them too.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import overload

from transformers import PreTrainedTokenizerFast

from models.data import Example
from models.errors import UserError
from models.text import Row

CHOSEN = 0.15
MASKED, REDRAWN = 0.8, 0.1
"""Shares of the chosen tokens that become the mask and a drawn token; the rest stays."""


class NoMask(UserError):
    """A tokenizer without a mask token, which cannot hide words."""


@dataclass(frozen=True)
class MaskedRow(Row):
    """A row with tokens that must be guessed."""

    shown: tuple[int, ...] = ()
    """Token ids as the model sees them, with others in the place of the hidden ones."""
    hidden: dict[int, int] = field(default_factory=dict)
    """The text's token id, which must be guessed, by position."""

    @cached_property
    def ids(self) -> list[int]:
        """Token ids as the model sees them."""
        return list(self.shown)


@dataclass(frozen=True)
class Masking:
    """Hides tokens of rows, with the mask token and the vocabulary of a tokenizer."""

    mask_id: int
    drawable: tuple[int, ...]
    """Every token id but the special ones."""

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> "Masking":
        """The masking that a tokenizer allows; raises NoMask if it has no mask token."""
        if tokenizer.mask_token_id is None:
            raise NoMask(
                f"{tokenizer.name_or_path}: its tokenizer has no mask token; choose a base that was made with one"
            )
        special = set(tokenizer.all_special_ids)
        return cls(int(tokenizer.mask_token_id), tuple(sorted(set(tokenizer.get_vocab().values()) - special)))

    def hide(self, row: Row, key: str) -> MaskedRow:
        """The row with some tokens hidden; the draw depends on `key` and on nothing else."""
        draw = random.Random(key)
        shown, hidden = list(row.encoding.ids), {}
        for position, is_special in enumerate(row.encoding.special_tokens_mask):
            if is_special or draw.random() >= CHOSEN:
                continue
            hidden[position] = shown[position]
            kind = draw.random()
            if kind < MASKED:
                shown[position] = self.mask_id
            elif kind < MASKED + REDRAWN:
                shown[position] = draw.choice(self.drawable)
        return MaskedRow(row.encoding, row.segments, row.group, shown=tuple(shown), hidden=hidden)

    def hide_always(self, row: Row) -> MaskedRow:
        """The row with some tokens hidden; the draw depends on the row's tokens alone, so every run hides the same."""
        return self.hide(row, f"always/{row.encoding.ids}")


class MaskedExamples(Sequence[Example]):
    """Examples whose tokens are hidden when they are read: a pure function of the index, the epoch and the seed."""

    def __init__(self, examples: Sequence[Example], masking: Masking, seed: int, epoch: int) -> None:
        self._examples = examples
        self._masking = masking
        self._key = f"{seed}/{epoch}"

    def __len__(self) -> int:
        return len(self._examples)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        number = range(len(self))[index]
        example = self._examples[number]
        rows = (self._masking.hide(row, f"{self._key}/{number}") for row in example.encoded.rows)
        return replace(example, encoded=replace(example.encoded, rows=tuple(rows)))
