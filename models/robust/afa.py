"""AFA (our reading): the last layer's attention learns from words whose masking goes unnoticed.

It follows "From Fake Focus to Real Precision: Confusion-Driven Adversarial Attention Learning in Transformers" (arXiv
2512.20661). No code was found, and only the abstract could be read: a dynamic mask tries to deceive a discriminator,
and a policy gradient moves attention. Everything more exact is a choice of this project, so its results do not
reproduce the paper. Attention is the policy: words that get little of it are likely to be masked. A word gains
attention if the discriminator notices its absence, and loses attention if not.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor

from models.networks.encoder import Batch, EncoderError, Pass
from models.networks.gate import find_special_ids
from models.robust.discriminator import Discriminator, Readings
from models.robust.method import BuildContext, Method, MethodSettings, StepContext, StepResult, WeightedLoss
from models.robust.reference.arrays import NamedArrays, WrongArray

BASE_DECAY = 0.9
"""Decay of the running mean of rewards."""
UNDECIDED = 0.5
"""Start of the running mean: the reward from a discriminator that knows nothing."""
TINY = 1e-6
LEAST_ATTENTION = 1e-12
"""Least sum of attention on the words of a text. A text may give nearly all its attention to special tokens; without
this bound the gradient of its shares would overflow."""


class AfaSettings(MethodSettings):
    """Settings of the mask, the discriminator and the policy's loss. None of the defaults comes from the paper."""

    feedback_weight: float = Field(default=0.1, ge=0, description="Weight of the policy's loss (lambda).")
    rho: float = Field(default=0.25, gt=0, lt=1, description="Chance of masking a word of typical attention.")
    kappa: float = Field(default=1.0, gt=0, description="How steeply the chance falls with attention.")
    q_min: float = Field(default=0.02, gt=0, lt=1, description="Least chance of masking a word.")
    q_max: float = Field(default=0.9, gt=0, lt=1, description="Greatest chance of masking a word.")
    discriminator_learning_rate: float = Field(default=1e-3, gt=0, description="1e-4 suits large encoders.")
    warmup_share: float = Field(
        default=0.1, ge=0, le=1, description="Share of the steps in which only the discriminator learns from masking."
    )
    permute_rewards: bool = Field(
        default=False, description="Give each text another's reward: a control that should gain nothing."
    )

    @model_validator(mode="after")
    def _refuse_falling(self) -> "AfaSettings":
        if not self.q_min <= self.rho <= self.q_max:
            raise ValueError(f"q_min {self.q_min}, rho {self.rho} and q_max {self.q_max} must not fall in this order")
        return self


def judged(words: Bool[Tensor, "rows seq"]) -> Bool[Tensor, "rows seq"]:
    """`u`: the words of rows with at least two words, so that one can be masked and one kept."""
    return words & (words.sum(1, keepdim=True) >= 2)


def attention_received(
    attention: Float[Tensor, "rows heads query key"], queries: Bool[Tensor, "rows query"]
) -> Float[Tensor, "rows key"]:
    """The attention that each key receives, a mean over heads and over the given queries."""
    weights = queries.to(attention.dtype)
    weights = weights / weights.sum(1, keepdim=True)
    return (attention.mean(1) * weights[:, :, None]).sum(1)


def first_positions(real: Bool[Tensor, "rows seq"]) -> Bool[Tensor, "rows seq"]:
    """True on the first token of each row, [CLS]."""
    return (torch.arange(real.shape[1], device=real.device) == 0).expand_as(real)


def word_shares(received: Float[Tensor, "rows seq"], maskable: Bool[Tensor, "rows seq"]) -> Float[Tensor, "rows seq"]:
    """`abar`: each word's share of the attention that words get; 0 on tokens that cannot be masked."""
    received = received.masked_fill(~maskable, 0.0)
    return received / received.sum(1, keepdim=True).clamp(min=LEAST_ATTENTION)


def neglect(shares: Float[Tensor, "rows seq"], maskable: Bool[Tensor, "rows seq"]) -> Float[Tensor, "rows seq"]:
    """`e`: how far a word's share lies below that of a typical word of its text, in logarithms; 0 on other tokens.

    It is centred on each text, so that no attention can keep all words from being masked.
    """
    surprise = -(shares + TINY).log()
    words = maskable.sum(1, keepdim=True).clamp(min=1)
    mean = surprise.masked_fill(~maskable, 0.0).sum(1, keepdim=True) / words
    return (surprise - mean).masked_fill(~maskable, 0.0)


def mask_chances(
    neglected: Float[Tensor, "rows seq"], maskable: Bool[Tensor, "rows seq"], settings: AfaSettings
) -> Float[Tensor, "rows seq"]:
    """`q`: the chance of masking each word, 0 on tokens that cannot be masked. A clipped chance passes no gradient."""
    typical = torch.logit(torch.tensor(settings.rho, dtype=neglected.dtype, device=neglected.device))
    chances = torch.sigmoid(settings.kappa * neglected + typical).clamp(settings.q_min, settings.q_max)
    return chances.masked_fill(~maskable, 0.0)


def draw_masks(chances: Float[Tensor, "rows seq"], maskable: Bool[Tensor, "rows seq"]) -> Bool[Tensor, "rows seq"]:
    """True on words to mask, each drawn on its own from torch's generator; word pieces count as words."""
    masked = torch.zeros_like(maskable)
    # Padding draws no numbers, so that masks do not depend on the amount of padding.
    draws = torch.rand(int(maskable.sum()), device=chances.device)
    masked[maskable] = draws < chances[maskable]
    return masked


def mend_masks(
    masked: Bool[Tensor, "rows seq"], chances: Float[Tensor, "rows seq"], maskable: Bool[Tensor, "rows seq"]
) -> Bool[Tensor, "rows seq"]:
    """If no word of a text was masked, mask the one of greatest chance; if all were, keep the one of least chance.

    Ties go to the first word. A text without words stays as it is; a single word would be masked and then kept.
    """
    positions = torch.arange(maskable.shape[1], device=maskable.device)
    likeliest = positions == chances.masked_fill(~maskable, -1.0).argmax(1, keepdim=True)
    unlikeliest = positions == chances.masked_fill(~maskable, 2.0).argmin(1, keepdim=True)
    masked = masked | (likeliest & ~masked.any(1, keepdim=True))
    is_full = (masked | ~maskable).all(1, keepdim=True)
    return masked & ~(unlikeliest & is_full) & maskable


def log_policy(
    masked: Bool[Tensor, "rows seq"], chances: Float[Tensor, "rows seq"], maskable: Bool[Tensor, "rows seq"]
) -> Float[Tensor, " rows"]:
    """`logpi`: log probability of the masks under the chances."""
    return torch.where(masked, chances, 1.0 - chances).log().masked_fill(~maskable, 0.0).sum(1)


def advantages(rewards: Float[Tensor, " rows"], base: Float[Tensor, ""]) -> Float[Tensor, " rows"]:
    """`adv`: rewards above `base`, in (population) standard deviations of this batch.

    They are not divided where there is one reward, or where all are nearly equal: rounding errors would be blown up.
    """
    spread = rewards.std(correction=0)
    return (rewards - base) / torch.where(spread > TINY, spread + TINY, 1.0)


def policy_loss(
    advantage: Float[Tensor, " rows"], log_chance: Float[Tensor, " rows"], maskable: Bool[Tensor, "rows seq"]
) -> Float[Tensor, ""]:
    """`l_pg`: descending it makes masks of positive advantage likelier. It is a mean over rows of a mean over words."""
    return -(advantage.detach() * log_chance / maskable.sum(1).clamp(min=1)).mean()


class Afa(Method):
    """Takes a plain pass and two passes without gradient to judge it by, and moves the last layer's attention.

    If the head answers for a row, attention is read at the first position, [CLS], and the vectors that the head's last
    dropout reads are compared; each choice of a multiple-choice item has a reward of its own. If the head answers at
    tokens, both are means over the real tokens.

    Two things depend on the rows of a batch together: the spread that advantages are divided by, and the discriminator,
    which learns once from each accumulated batch.
    """

    special_ids: Tensor
    base: Tensor

    def __init__(self, settings: AfaSettings, context: BuildContext) -> None:
        super().__init__()
        tokenizer = context.tokenizer
        if tokenizer.mask_token_id is None:
            raise EncoderError("the base's tokenizer has no mask token, which AFA puts for words; choose another base")
        self.settings = settings
        self.mask_id = int(tokenizer.mask_token_id)
        self.last_layer = len(context.encoder.layers) - 1
        self.reads_tokens = context.head == "token-classification"
        self.reads_start = not self.reads_tokens and context.encoder.reads_start
        generator = torch.Generator().manual_seed(context.seed)
        self.discriminator = Discriminator(
            context.encoder.width, settings.discriminator_learning_rate, generator=generator
        )
        self.register_buffer("special_ids", torch.tensor(find_special_ids(tokenizer)), persistent=False)
        self.register_buffer("base", torch.tensor(UNDECIDED))

    def step(self, batch: Batch, context: StepContext) -> StepResult:
        """Task loss + weight x policy loss; the weight is 0 while the discriminator warms up.

        Rows of fewer than two words take part only in the task loss, and a batch of such rows reports only that.
        """
        if self.settings.feedback_weight == 0:
            return StepResult(losses={"task": self._task_loss(context.encoder(batch), batch, context)})
        clean = context.encoder(batch, keep=[self.last_layer])
        losses = {"task": self._task_loss(clean, batch, context)}
        maskable = self._find_words(batch)
        is_judged = maskable.any(1)
        if not is_judged.any():
            return StepResult(losses=losses)
        chances = self._chances(clean, batch, maskable)
        with context.extra_pass(0):
            masked = mend_masks(draw_masks(chances, maskable), chances, maskable)
        seen = self._compare(clean, batch, masked, context)
        discriminator_loss, accuracy = self.discriminator.learn(seen)
        rewards = self.discriminator.confusion(seen)
        advantage = torch.zeros_like(chances[:, 0])
        advantage[is_judged] = advantages(self._permuted(rewards, context), self.base)
        self.base.lerp_(rewards.mean(), 1 - BASE_DECAY)
        loss = policy_loss(advantage, log_policy(masked, chances, maskable), maskable)
        if context.share_done < self.settings.warmup_share:
            losses["policy"] = WeightedLoss(loss.detach(), 0.0)
        else:
            losses["policy"] = WeightedLoss(loss, self.settings.feedback_weight)
        scalars = {
            "reward": float(rewards.mean()),
            "reward_spread": float(rewards.std(correction=0)),
            "discriminator_loss": discriminator_loss,
            "discriminator_accuracy": accuracy,
        }
        return StepResult(losses=losses, scalars=scalars)

    def _task_loss(self, clean: Pass, batch: Batch, context: StepContext) -> WeightedLoss:
        return WeightedLoss(context.task_loss(clean.logits, batch.targets))

    def _find_words(self, batch: Batch) -> Bool[Tensor, "rows seq"]:
        """True on tokens that may be masked: real and not special, in rows with at least two of them."""
        return judged(batch.mask & ~torch.isin(batch.ids, self.special_ids))

    def _chances(self, clean: Pass, batch: Batch, maskable: Bool[Tensor, "rows seq"]) -> Float[Tensor, "rows seq"]:
        attention = clean.kept[self.last_layer].probabilities.float()
        queries = first_positions(batch.mask) if self.reads_start else batch.mask
        received = attention_received(attention, queries)
        return mask_chances(neglect(word_shares(received, maskable), maskable), maskable, self.settings)

    @torch.no_grad()
    def _compare(self, clean: Pass, batch: Batch, masked: Bool[Tensor, "rows seq"], context: StepContext) -> Readings:
        """Read the rows twice more: with the mask token in the place of masked words, and unchanged."""
        hidden = replace(batch, ids=batch.ids.masked_fill(masked, self.mask_id))
        with context.extra_pass(1):
            altered = context.encoder(hidden)
        with context.extra_pass(2):
            repeated = context.encoder(batch)
        is_judged = masked.any(1)
        plain, altered, repeated = (self._read(one, batch)[is_judged] for one in (clean, altered, repeated))
        return Readings(plain=plain, masked=altered, repeated=repeated)

    def _read(self, one: Pass, batch: Batch) -> Float[Tensor, "rows width"]:
        if one.pooled is None:
            raise EncoderError("AFA compares the input of a head's dropout, and this base's head has none")
        read = one.pooled.float()
        if self.reads_tokens:
            read = (read * batch.mask[:, :, None]).sum(1) / batch.mask.sum(1, keepdim=True)
        return read

    def _permuted(self, rewards: Float[Tensor, " texts"], context: StepContext) -> Float[Tensor, " texts"]:
        if not self.settings.permute_rewards:
            return rewards
        with context.extra_pass(3):
            return rewards[torch.randperm(len(rewards), device=rewards.device)]


def build(settings: AfaSettings, context: BuildContext) -> Afa:
    """AFA with a discriminator for this encoder, drawn from a generator of its own."""
    return Afa(settings, context)


def reference(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray | float]:
    """The formulas at given arrays, in float64.

    Always needed are `attention` A (batch, heads, seq, seq; queries first), `maskable` u and `masks` mk (batch, seq; 1
    on words that may be masked and that were masked), `rewards` R (batch) and `base`. They give `abar`, `e`, `q` (all
    batch, seq), `logpi`, `advantages` (batch), `l_pg`, and `attention_gradient`, the gradient of `l_pg` with respect to
    A. Masks are taken as they are, without the rule that masks one word and keeps one. `kappa`, `rho`, `q_min` and
    `q_max` have the settings' defaults unless given. With `real` (batch, seq; 1 on real tokens) attention is read at
    all real queries instead of the first, as for a head that answers at tokens. Rows of fewer than two words give
    zeros.

    With `plain` f, `masked` f~ and `twin` f0 (texts, width; the plain texts read again) and the discriminator's
    `hidden_weight` (width, twice the width; outputs first, |f_1 - f_2| before f_1 f_2), `hidden_bias`, `output_weight`
    (width) and `output_bias` (a number), the results also hold `l_dsc`, and `confusion`, the rewards that this
    discriminator gives (texts).

    Raises:
        WrongArray: an array is missing, unknown or misshapen, or a token is masked that cannot be.
    """
    arrays = NamedArrays(inputs)
    results = _policy_at(arrays)
    states = ("plain", "masked", "twin")
    weights = {"hidden_weight": "width pair", "hidden_bias": "width", "output_weight": "width", "output_bias": ""}
    if arrays.has(*states, *weights):
        plain, masked, repeated = (arrays.floats(name, "texts width") for name in states)
        seen = Readings(plain=plain, masked=masked, repeated=repeated)
        judge = _judge_with({name: arrays.floats(name, axes) for name, axes in weights.items()})
        results |= {"l_dsc": judge.loss(seen), "confusion": judge.confusion(seen)}
    arrays.finish()
    return {name: tensor.detach().numpy() for name, tensor in results.items()}


def _policy_at(arrays: NamedArrays) -> dict[str, Tensor]:
    attention = arrays.floats("attention", "batch heads seq seq").requires_grad_()
    maskable, masks = judged(arrays.flags("maskable", "batch seq")), arrays.flags("masks", "batch seq")
    rewards = arrays.floats("rewards", "batch")
    if (masks & ~maskable).any() or not maskable.any():
        raise WrongArray("array 'masks' must mask maskable words alone, of rows that have two of them or more")
    defaults = AfaSettings()
    settings = AfaSettings.model_validate(
        {name: arrays.number(name, getattr(defaults, name)) for name in ("kappa", "rho", "q_min", "q_max")}
    )
    queries = arrays.flags("real", "batch seq") if arrays.has("real") else first_positions(masks)
    shares = word_shares(attention_received(attention, queries), maskable)
    neglected = neglect(shares, maskable)
    chances = mask_chances(neglected, maskable, settings)
    log_chance = log_policy(masks, chances, maskable)
    advantage = torch.zeros_like(rewards)
    is_judged = maskable.any(1)
    advantage[is_judged] = advantages(rewards[is_judged], rewards.new_tensor(arrays.number("base")))
    loss = policy_loss(advantage, log_chance, maskable)
    (gradient,) = torch.autograd.grad(loss, attention)
    return {
        "abar": shares,
        "e": neglected,
        "q": chances,
        "logpi": log_chance,
        "advantages": advantage,
        "l_pg": loss,
        "attention_gradient": gradient,
    }


def _judge_with(weights: Mapping[str, Tensor]) -> Discriminator:
    width, pair = weights["hidden_weight"].shape
    if pair != 2 * width:
        raise WrongArray(f"array 'hidden_weight' has shape {(width, pair)}; its second axis is twice the first")
    judge = Discriminator(width, 0.0, torch.Generator()).double()
    with torch.no_grad():
        for name, weight in weights.items():
            parameter = judge.get_parameter(name.replace("_", "."))
            parameter.copy_(weight.view_as(parameter))
    return judge
