"""A transformers model whose attention scores can be biased and whose layers can be read, with its batches.

How the hooks work stands in `models.networks.hooks`.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from transformers import PreTrainedModel

from models.networks.families import EncoderError as EncoderError
from models.networks.families import find_family, reads_segments
from models.networks.hooks import ScoreBias, added, captured_ends, changed_layers, entered_by


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Padded rows with their right answers; an example is one row, or one row for each of its choices."""

    ids: Int[Tensor, "rows seq"]
    type_ids: Int[Tensor, "rows seq"]
    mask: Bool[Tensor, "rows seq"]
    """True on real tokens."""
    targets: Shaped[Tensor, "batch ..."]
    """A label, choice or number, (batch,); a label for each token, (batch, seq); or a span's ends, (batch, 2)."""
    indices: Int[Tensor, " batch"]
    """Number of each example in the training data, on which a method's random choices may depend."""
    choices: tuple[int, ...] | None = None
    """Number of rows of each example, where logits are compared between them; None where each example is one row."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The state that entered a layer and the layer's attention, with their graph."""

    entering: Float[Tensor, "batch seq width"]
    probabilities: Float[Tensor, "batch heads query seq"]
    """Attention before its dropout; a BiLSTM has a single query."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """The results of one forward pass, with their graph."""

    logits: Float[Tensor, "batch ..."]
    states: Float[Tensor, "rows seq width"]
    """States of the last layer."""
    pooled: Float[Tensor, "rows ... width"] | None
    """The input of the head's last dropout and linear map; None for a head without dropout."""
    kept: Mapping[int, Kept]
    """The layers that were asked for, by number."""


class Encoder(nn.Module):
    """A transformers model with its head, in eager attention, under hooks."""

    model: Any
    """The transformers model, which has no types."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.family = find_family(model.config)
        if isinstance(model, PreTrainedModel) and self.family.self_attends:
            model.set_attn_implementation("eager")
        self.model = model
        self._chooses = type(model).__name__.endswith("ForMultipleChoice")

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The layers that attend, first to last, as often as they are called; a BiLSTM has one."""
        return self.family.layers(self.model.base_model)

    @property
    def max_tokens(self) -> int:
        """Length of the longest row, by the table of positions; a BiLSTM has none."""
        config = self.model.config
        if not self.self_attends:
            return sys.maxsize
        return int(config.max_position_embeddings) - self.family.positions_taken(config)

    @property
    def width(self) -> int:
        """Size of the hidden states."""
        return int(self.model.config.hidden_size)

    @property
    def self_attends(self) -> bool:
        """True if tokens attend to each other; otherwise a single row of attention weighs the mean of their states."""
        return self.family.self_attends

    @property
    def reads_start(self) -> bool:
        """True if a head that answers for a row reads the first token alone, and not the mean of all."""
        return not self.family.pools_mean(self.model.config)

    def attended(self, batch: Batch) -> Bool[Tensor, "rows seq"]:
        """True on tokens that can be attended to: the real ones; in a BiLSTM's pairs, those of the first text."""
        if self.self_attends or not reads_segments(self.model.config):
            return batch.mask
        return batch.mask & (batch.type_ids == 0)

    @property
    def word_vectors(self) -> Float[Tensor, "vocabulary embedding"]:
        """The table of word vectors, a parameter."""
        table: Tensor = self.model.base_model.get_input_embeddings().weight
        return table

    @property
    def heads(self) -> int:
        """Number of attention heads in each layer."""
        return int(self.model.config.num_attention_heads)

    def forward(
        self,
        batch: Batch,
        *,
        start_layer: int = 0,
        hidden: Float[Tensor, "batch seq width"] | None = None,
        score_bias: Mapping[int, ScoreBias] | None = None,
        keep: Collection[int] = (),
        word_noise: Float[Tensor, "batch seq embedding"] | None = None,
        detached: Collection[int] = (),
    ) -> Pass:
        """Run the model, or only its layers from `start_layer` on, with `hidden` as the state that enters there.

        Each bias is added beside the padding bias of the layer that it is given for. Layers in `keep` return their
        entering state and attention. Noise is added to the word vectors, before positions and LayerNorm.
        No gradient passes through the attention of layers in `detached`.

        Raises:
            ValueError: a later `start_layer` without `hidden`, or a layer that is not there.
        """
        biases = score_bias or {}
        self._check_layers({*biases, *keep, *detached}, start_layer, is_given=hidden is not None)
        kept: dict[int, Kept] = {}

        def note(number: int, entering: Tensor, probabilities: Tensor) -> None:
            if number in keep:
                kept[number] = Kept(entering=entering, probabilities=probabilities)

        with ExitStack() as hooks:
            ends = hooks.enter_context(captured_ends(self.model))
            if word_noise is not None:
                hooks.enter_context(added(self.model.base_model.get_input_embeddings(), word_noise))
            if hidden is not None:
                hooks.enter_context(entered_by(self.model, hidden))
            if hidden is not None or biases or keep or detached:
                mask = self.attended(batch)
                hooks.enter_context(changed_layers(self.model, start_layer, biases, mask, detached, note))
            output = self.model(**self._inputs(batch))
        logits = read_logits(output)
        return Pass(
            logits=logits if batch.choices is None else _compare(logits, batch.choices),
            states=ends["states"],
            pooled=ends.get("pooled"),
            kept=kept,
        )

    def states(self, batch: Batch) -> Float[Tensor, "rows seq width"]:
        """States of the last layer, computed without the model's head, for heads of a method's own."""
        output = self.model.base_model(**self._inputs(batch))
        states: Tensor = output.last_hidden_state
        return states

    def _check_layers(self, numbers: Collection[int], start: int, *, is_given: bool) -> None:
        count = len(self.layers)
        if start > 0 and not is_given:
            raise ValueError(f"start_layer {start} needs hidden, the state that enters that layer")
        for number in numbers:
            if not start <= number < count:
                raise ValueError(f"no layer {number} in this pass; it runs layers {start} to {count - 1}")

    def _inputs(self, batch: Batch) -> dict[str, Tensor]:
        inputs = {"input_ids": batch.ids, "attention_mask": batch.mask.long()}
        if reads_segments(self.model.config):
            inputs["token_type_ids"] = batch.type_ids
        # transformers' multiple-choice models take (examples, choices, seq), so every row is an example of one choice.
        return {name: tensor[:, None] for name, tensor in inputs.items()} if self._chooses else inputs


def read_logits(output: Any) -> Tensor:
    """The logits of a head as one tensor; for spans [batch, seq, 2], how well one begins and ends at each token."""
    if "start_logits" in output:
        return torch.stack([output.start_logits, output.end_logits], dim=-1)
    logits: Tensor = output.logits
    return logits


NO_CHOICE = -1e4
"""Logit that stands for a missing choice; it is finite, so that divergences between softmaxes stay numbers."""


def _compare(logits: Float[Tensor, "rows 1"], choices: tuple[int, ...]) -> Float[Tensor, "batch choices"]:
    """Logits in one row for each example, filled up with `NO_CHOICE` where an example has fewer choices."""
    parts = torch.split(logits.squeeze(-1), list(choices))
    return nn.utils.rnn.pad_sequence(list(parts), batch_first=True, padding_value=NO_CHOICE)
