"""SSA: self-supervised attention (Chen, Kou, Bai, Tong, IEEE Access 9, 2021, arXiv 2004.03808).

Between epochs, words are found that can be masked without changing the model's right answer
(`models.robust.masking_trials`). They are labelled 0 and all other words 1. In the next epoch a token classifier learns
these labels beside the task, on the unmasked texts. SSA-Co stops there, and the classifier is dropped. SSA-Hybrid also
pools the words that the classifier lets through into the head's input, in training and in serving.

The numbers follow the authors' released code (`koukoulala/ssa_BERT`, `yrchen92/ssa_BERT`), since the paper's method
section was not at hand. Departures:

- Dropout stays on after the first epoch; the code forgets to switch it back on.
- Every special token is ignored, RoBERTa's second separator too.
- The attention mask is left as it was.
- The token classifier is clipped on its own.
- More are named in `models.networks.gate` and `models.robust.masking_trials`.

Two options of the code are not built: weights of its own for each position, and appending all originals to every epoch.
"""

import random
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn
from transformers import BertConfig

from models.data import Example
from models.networks.encoder import Batch, Encoder, EncoderError
from models.networks.gate import Gate, GatedModel, GateSettings, TokenClassifier, make_gate, relevance
from models.networks.heads import IGNORED, token_loss
from models.networks.hooks import last_linear
from models.robust.masking_trials import MaskedText, MaskingTrials, text_positions
from models.robust.method import (
    BuildContext,
    Method,
    MethodSettings,
    ParameterGroup,
    StepContext,
    StepResult,
    WeightedLoss,
)
from models.robust.reference.arrays import NamedArrays


class SsaCoSettings(MethodSettings):
    """Settings of the search for words to mask, and the weight of their labels."""

    token_weight: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Share of the token classifier in the loss (lambda); the rest is the task's.",
    )
    trigger: float = Field(default=0.1, ge=0, le=1, description="Chance of each word to have one near it masked.")
    ratio_step: float = Field(
        default=0.2, ge=0, lt=1, description="Growth of the share of masked texts with each epoch, from 0."
    )
    max_rounds: int = Field(
        default=10, gt=0, description="Number of times that all texts are tried for one epoch, at most."
    )
    random_labels: bool = Field(
        default=False, description="For comparison: as many labels 0 in each text, but on words drawn at random."
    )


class SsaHybridSettings(GateSettings, SsaCoSettings):
    """The settings of SSA-Co and those of the gate."""


def masked_share(epoch: int, step: float) -> float:
    """Share of an epoch's texts that are masked, r_t; epochs count from 1. Rounded as the code rounds it."""
    share = 0.0
    for _ in range(epoch - 1):
        if share + step < 1.0:
            share += step
    return share


class Ssa(Method):
    """Adds to the task's loss that of a token classifier, which learns the labels of this epoch from the same pass."""

    labels: Int[Tensor, "examples max_tokens"]
    """Labels of the words of each text of this epoch: 0 on words that can be masked, 1 on other words, -1 elsewhere."""
    sources: Int[Tensor, " examples"]
    """Number of the training example that each text of this epoch is."""
    made_for: Int[Tensor, ""]
    """The epoch that `labels` and `sources` were made for."""

    def __init__(self, settings: SsaCoSettings, context: BuildContext, gate: Gate | None) -> None:
        super().__init__()
        self.settings = settings
        self.gate = gate
        self.tokens = TokenClassifier(context.encoder.model.config, torch.Generator().manual_seed(context.seed))
        self.trials = MaskingTrials(
            trigger=settings.trigger,
            max_rounds=settings.max_rounds,
            score_range=context.score_range,
            tokenizer=context.tokenizer,
        )
        self._seed = context.seed
        self._epochs = context.epochs
        self.register_buffer("labels", torch.full((context.example_count, context.max_tokens), -1, dtype=torch.int8))
        self.register_buffer("sources", torch.arange(context.example_count))
        self.register_buffer("made_for", torch.tensor(0))

    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """The token classifier, which is trained as the encoder is."""
        return (ParameterGroup(name="token_classifier", parameters=tuple(self.parameters())),)

    def before_epoch(self, examples: Sequence[Example], epoch: int, context: StepContext) -> Sequence[Example]:
        """The texts of this epoch, as many as there are examples; in a share r_t of them some words are labelled 0.

        They are chosen once an epoch, with the weights at its start, and kept in the buffers with their labels.
        """
        if self.settings.token_weight == 0 and self.gate is None:
            return examples  # Nothing reads labels: this is plain training.
        if int(self.made_for) != epoch:
            share = masked_share((epoch - 1) % self._epochs + 1, self.settings.ratio_step)
            seed = f"{self._seed}/{epoch}"
            texts = self.trials.plan(examples, share, self.served(context.encoder), seed, context.say)
            self._keep(texts, examples, random.Random(f"{seed}/labels"))
            self.made_for.fill_(epoch)
        return [examples[source] for source in self.sources.tolist()]

    def step(self, batch: Batch, context: StepContext) -> StepResult:
        """(1 - lambda) x task loss + lambda x cross entropy of the token labels.

        The cross entropy is a mean over the labelled tokens of all rows, and 0 where no token is labelled. So a text
        counts by its length, and accumulated batches do not quite equal one big batch. `irrelevant` is the share of
        labels that are 0, and `irrelevant_found` is the share of labels that are 0 and predicted 0. Their quotient is
        the classifier's recall; it is worth watching, since a classifier that always says 1 is nearly always right.
        """
        passed = context.encoder(batch)
        token_logits = self.tokens(passed.states)
        labels = self.labels[batch.indices, : batch.ids.shape[1]].long()
        logits = passed.logits
        if self.gate is not None:
            assert passed.pooled is not None, "heads without dropout are refused"
            words = self.gate.words(batch.ids, batch.mask)
            mixed = self.gate.mix(token_logits, passed.states, passed.pooled, words)
            logits = last_linear(context.encoder.model)(mixed.head_input)
        losses = {
            "task": WeightedLoss(context.task_loss(logits, batch.targets), 1 - self.settings.token_weight),
            "tokens": WeightedLoss(label_loss(token_logits, labels), self.settings.token_weight),
        }
        labelled = (labels >= 0).sum().clamp(min=1)
        found = (labels == 0) & (token_logits.argmax(dim=-1) == 0)
        scalars = {
            "irrelevant": float((labels == 0).sum() / labelled),
            "irrelevant_found": float(found.sum() / labelled),
        }
        return StepResult(losses=losses, scalars=scalars, logits=logits)

    def served(self, encoder: Encoder) -> Encoder:
        """The plain model for SSA-Co, the model with its gate for SSA-Hybrid."""
        if self.gate is None:
            return encoder
        return Encoder(GatedModel(encoder.model, self.tokens, self.gate)).train(encoder.training)

    def _keep(self, texts: Sequence[MaskedText], examples: Sequence[Example], draw: random.Random) -> None:
        labels = np.full(tuple(self.labels.shape), -1, dtype=np.int8)
        for number, text in enumerate(texts):
            words = [
                place for positions in text_positions(examples[text.source].encoded.rows[0]) for place in positions
            ]
            labels[number, words] = 1
            masked = draw.sample(words, len(text.masked)) if self.settings.random_labels else text.masked
            labels[number, list(masked)] = 0
        self.labels.copy_(torch.from_numpy(labels))
        self.sources.copy_(torch.tensor([text.source for text in texts]))


def label_loss(token_logits: Float[Tensor, "batch seq 2"], labels: Int[Tensor, "batch seq"]) -> Float[Tensor, ""]:
    """Cross entropy over the tokens labelled 0 or 1; 0 where there are none."""
    return token_loss(token_logits, labels.masked_fill(labels < 0, IGNORED))


def build_co(settings: SsaCoSettings, context: BuildContext) -> Ssa:
    """SSA-Co; raises EncoderError where the base has no token to mask words with."""
    _refuse_maskless(context)
    return Ssa(settings, context, gate=None)


def build_hybrid(settings: SsaHybridSettings, context: BuildContext) -> Ssa:
    """SSA-Hybrid; raises EncoderError where the base has no token to mask words with."""
    _refuse_maskless(context)
    return Ssa(settings, context, make_gate(settings, context.tokenizer))


def reference(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray | float]:
    """The formulas at given arrays, in float32 as in training, by the names they have on paper.

    Always needed are `states` h (batch, seq, width), `real` (batch, seq; 1 on real tokens), `labels` t (batch, seq; 0,
    1, or -1 on special tokens and padding), and the token classifier's `dense_weight` (width, width; outputs first),
    `dense_bias`, `norm_weight` and `norm_bias` (width), `output_weight` (two, width) and `output_bias` (two). They give
    `p` (batch, seq) and `l_tok`. `layer_norm_eps` is 1e-12 unless given.

    With `pooled` (batch, width), `head_weight` (classes, width) and `head_bias` (classes), the results also hold
    `keep`, `a` (batch, seq), `ctx` (batch, width) and `logits` (batch, classes). `start_share` w is 0.5 and `threshold`
    k is 0.3 unless given; with w = 1 the logits are SSA-Co's. `keep` marks the words that pass the threshold; `a` has
    the guards as well.

    With `task_loss` they hold `loss`; `token_weight` lambda is 0.3 unless given. With `epochs` they hold `ratios`
    (epochs), r_t from the first epoch on; `ratio_step` is 0.2 unless given.

    Raises:
        WrongArray: an array is missing, unknown or misshapen.
    """
    arrays, usual = NamedArrays(inputs), SsaHybridSettings()
    states, real = arrays.floats("states", "batch seq width").float(), arrays.flags("real", "batch seq")
    labels = arrays.integers("labels", "batch seq")
    token_logits = _read_classifier(arrays, states.shape[-1])(states)
    results: dict[str, Tensor] = {"p": relevance(token_logits), "l_tok": label_loss(token_logits, labels)}
    if arrays.has("pooled", "head_weight", "head_bias"):
        results |= _reference_gate(arrays, token_logits, states, real & (labels != -1))
    if arrays.has("task_loss"):
        weight = arrays.number("token_weight", usual.token_weight)
        results["loss"] = (1 - weight) * arrays.number("task_loss") + weight * results["l_tok"]
    if arrays.has("epochs"):
        step = arrays.number("ratio_step", usual.ratio_step)
        results["ratios"] = torch.tensor(
            [masked_share(epoch, step) for epoch in range(1, int(arrays.number("epochs")) + 1)], dtype=torch.float64
        )
    arrays.finish()
    return {name: tensor.detach().numpy() for name, tensor in results.items()}


def _reference_gate(
    arrays: NamedArrays,
    token_logits: Float[Tensor, "batch seq 2"],
    states: Float[Tensor, "batch seq width"],
    words: Bool[Tensor, "batch seq"],
) -> dict[str, Tensor]:
    usual = SsaHybridSettings()
    gate = Gate(
        threshold=arrays.number("threshold", usual.threshold),
        start_share=arrays.number("start_share", usual.start_share),
        special_ids=(),
    )
    mixed = gate.mix(token_logits, states, arrays.floats("pooled", "batch width").float(), words)
    head = arrays.floats("head_weight", "classes width").float(), arrays.floats("head_bias", "classes").float()
    return {
        "keep": words & (relevance(token_logits) >= gate.threshold),
        "a": mixed.weights,
        "ctx": mixed.context,
        "logits": nn.functional.linear(mixed.head_input, *head),
    }


def _read_classifier(arrays: NamedArrays, width: int) -> TokenClassifier:
    eps = arrays.number("layer_norm_eps", 1e-12)
    tokens = TokenClassifier(BertConfig(hidden_size=width, layer_norm_eps=eps), torch.Generator())
    axes = {"dense": ("width width", "width"), "norm": ("width", "width"), "output": ("two width", "two")}
    tokens.load_state_dict(
        {
            f"{part}.{kind}": arrays.floats(f"{part}_{kind}", part_axes)
            for part, both in axes.items()
            for kind, part_axes in zip(("weight", "bias"), both, strict=True)
        }
    )
    return tokens


def _refuse_maskless(context: BuildContext) -> None:
    if context.tokenizer.mask_token_id is None:
        raise EncoderError("the base's tokenizer has no mask token, which SSA puts for words; choose another base")
