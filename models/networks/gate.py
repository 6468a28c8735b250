"""SSA's gate: it passes the words that a token classifier finds relevant to the head, beside the text's start.

The gate stays in the served model. `GatedModel` is a stock model with the gate on; all its passes, exported or not, go
through `Gate.mix`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedTokenizerFast

from models.networks.families import norm_eps
from models.networks.hooks import captured_ends, last_linear

SLOPE = 10_000.0
"""Subtracted before the softmax from the score of a word that is not kept; its weight is then exactly 0 in float32."""


class GateSettings(BaseModel):
    """The part of the training method's settings that the served model needs too."""

    model_config = ConfigDict(frozen=True)

    start_share: float = Field(
        default=0.5, ge=0, le=1, description="Weight of the text's start in what the head reads (w)."
    )
    threshold: float = Field(default=0.3, ge=0, le=1, description="Least relevance of a word that passes (k).")


class TokenClassifier(nn.Module):
    """Tells which words are relevant: a linear map, GELU, LayerNorm, and a map to two logits.

    It is initialised as a fresh layer of the backbone is: normal with its standard deviation, biases 0.
    """

    def __init__(self, config: PretrainedConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        # Created without values, since a linear layer would draw them from plain training's generator.
        width = config.hidden_size
        self.dense: nn.Linear = nn.utils.skip_init(nn.Linear, width, width)  # type: ignore[no-untyped-call]
        self.norm = nn.LayerNorm(width, eps=norm_eps(config))
        self.output: nn.Linear = nn.utils.skip_init(nn.Linear, width, 2)  # type: ignore[no-untyped-call]
        for linear in (self.dense, self.output):
            nn.init.normal_(linear.weight, std=config.initializer_range, generator=generator)
            nn.init.zeros_(linear.bias)

    def forward(self, states: Float[Tensor, "batch seq width"]) -> Float[Tensor, "batch seq 2"]:
        """Two logits for each position: "not shown to matter" and "relevant"."""
        logits: Tensor = self.output(self.norm(nn.functional.gelu(self.dense(states))))
        return logits


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """The result of the gate, with its graph."""

    weights: Float[Tensor, "batch seq"]
    context: Float[Tensor, "batch width"]
    head_input: Float[Tensor, "batch width"]
    """The input of the head's last linear map."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Lets relevant words through to the head, mixed with the text's start."""

    threshold: float
    """A word passes if its relevance is at least this."""
    start_share: float
    """Weight of the text's start in the head's input; the rest is the words'."""
    special_ids: tuple[int, ...]
    """Ids of tokens that are no words."""

    def mix(
        self,
        token_logits: Float[Tensor, "batch seq 2"],
        states: Float[Tensor, "batch seq width"],
        pooled: Float[Tensor, "batch width"],
        words: Bool[Tensor, "batch seq"],
    ) -> Mixed:
        """Pool the words that pass and mix them with the pooled start. Nothing is detached, and there is no dropout.

        The context of a row without words is `pooled`.
        """
        weights = word_weights(relevance(token_logits), words, self.threshold)
        # The row is doubled: ONNX Runtime sums along an axis, and multiplies by a single row, in an order that depends
        # on padding; with two rows it does not.
        context = (torch.stack([weights, weights], dim=1) @ states)[:, 0]
        context = torch.where(words.any(dim=1, keepdim=True), context, pooled)
        head_input = self.start_share * pooled + (1 - self.start_share) * context
        return Mixed(weights=weights, context=context, head_input=head_input)

    def words(self, ids: Int[Tensor, "batch seq"], real: Bool[Tensor, "batch seq"]) -> Bool[Tensor, "batch seq"]:
        """True on real tokens that are not special."""
        for special in self.special_ids:
            real = real & (ids != special)
        return real


def relevance(token_logits: Float[Tensor, "batch seq 2"]) -> Float[Tensor, "batch seq"]:
    """Probability that a word is relevant, in float32."""
    return token_logits.float().softmax(dim=-1)[..., 1]


def word_weights(
    relevance: Float[Tensor, "batch seq"], words: Bool[Tensor, "batch seq"], threshold: float
) -> Float[Tensor, "batch seq"]:
    """A softmax over the *probabilities* of the words that pass; 0 elsewhere.

    The threshold passes no gradient. If no word of a row passes, all its words have the same weight; the released code
    then spreads the weight over all positions, padding included. A row without words has weights of 0.
    """
    passing = words & (relevance >= threshold)
    passes = passing.any(dim=1, keepdim=True)
    kept = passing | (words & ~passes)
    scores = (relevance * passes).masked_fill(~kept, -SLOPE)
    return scores.softmax(dim=1) * kept


def find_special_ids(tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    """Ids of the tokens that are no words: all special ones but the unknown word's.

    The released code takes RoBERTa's second separator between two texts for a word.
    """
    return tuple(sorted(set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}))


def make_gate(settings: GateSettings, tokenizer: PreTrainedTokenizerFast) -> Gate:
    """The gate that these settings ask for."""
    return Gate(threshold=settings.threshold, start_share=settings.start_share, special_ids=find_special_ids(tokenizer))


class GatedModel(nn.Module):
    """A stock model whose head reads through the gate; it is called as the stock model is and answers in the same form.

    Its attentions are the stock model's, so they do not show which words passed the gate.
    """

    def __init__(self, model: Any, tokens: TokenClassifier, gate: Gate) -> None:
        super().__init__()
        self.model = model
        self.tokens = tokens
        self.gate = gate

    @property
    def config(self) -> PretrainedConfig:
        """The stock model's configuration."""
        config: PretrainedConfig = self.model.config
        return config

    @property
    def base_model(self) -> Any:
        """The stock model's encoder."""
        return self.model.base_model

    def forward(
        self, input_ids: Int[Tensor, "rows seq"], attention_mask: Int[Tensor, "rows seq"], **options: Any
    ) -> Any:
        """The stock model's output with the gate's logits."""
        with captured_ends(self.model) as ends:
            output = self.model(input_ids=input_ids, attention_mask=attention_mask, **options)
        words = self.gate.words(input_ids, attention_mask.bool())
        mixed = self.gate.mix(self.tokens(ends["states"]), ends["states"], ends["pooled"], words)
        output.logits = last_linear(self.model)(mixed.head_input)
        return output


def serve_gated(
    settings: Mapping[str, Any], model: Any, tokenizer: PreTrainedTokenizerFast, weights: Mapping[str, Tensor]
) -> GatedModel:
    """A checkpoint's stock model with its gate on, from the method's settings and weights.

    Raises:
        RuntimeError: the weights are not the gate's.
    """
    tokens = TokenClassifier(model.config)
    tokens.load_state_dict({name.removeprefix("tokens."): tensor for name, tensor in weights.items()})
    return GatedModel(model, tokens, make_gate(GateSettings.model_validate(settings), tokenizer))
