"""Word AT (Miyato et al., ICLR 2017) and Word iAT (Sato et al., IJCAI 2018): noise on word vectors.

Kitada and Iyatomi compare attention noise with these methods (arXiv 2009.12064). The loss is L + lambda L_adv, with one
step from zero along the gradient and one length for each text, as in published programs. Departures:

- Word vectors are not normalised over the vocabulary, since a pretrained encoder's cannot be.
- Each choice of an item counts as a text.
- No word is moved towards a special token.
- The noisy pass has dropout of its own, so to first order the loss rises only on average.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from models.data import Example
from models.networks.encoder import Batch, Encoder
from models.robust.method import BuildContext, Method, MethodSettings, StepContext, StepResult, WeightedLoss
from models.robust.perturbation import scale
from models.robust.reference.arrays import NamedArrays, WrongArray

TEXT = (-2, -1)
"""The axes that share one length: tokens and width."""


class WordAtSettings(MethodSettings):
    """Settings of the noise on word vectors."""

    epsilon: float = Field(default=5.0, ge=0, description="Length of a text's noise, all its tokens together.")
    weight: float = Field(default=1.0, ge=0, description="Lambda, the weight of the loss under noise; 0 is plain.")


class WordIatSettings(MethodSettings):
    """Settings of the noise on word vectors, and the number of words that a word is moved towards."""

    epsilon: float = Field(default=15.0, ge=0, description="Length of a text's noise, all its tokens together.")
    weight: float = Field(default=1.0, ge=0, description="Lambda, the weight of the loss under noise; 0 is plain.")
    neighbours: int = Field(default=10, gt=0, description="Number of nearest words that a word is moved towards.")


class WordAt(Method):
    """Takes a clean pass, and a second one with each text's word vectors moved in the most harmful direction."""

    def __init__(self, epsilon: float, weight: float) -> None:
        super().__init__()
        self._epsilon = epsilon
        self._weight = weight

    def step(self, batch: Batch, context: StepContext) -> StepResult:
        """L + lambda L_adv."""
        if self._weight == 0:
            clean = context.encoder(batch)
            return StepResult(losses={"task": WeightedLoss(context.task_loss(clean.logits, batch.targets))})
        vectors = context.encoder.word_vectors
        start = vectors.new_zeros(*batch.ids.shape, vectors.shape[1]).requires_grad_()
        clean = context.encoder(batch, word_noise=start)
        task = context.task_loss(clean.logits, batch.targets)
        (gradient,) = context.gradients(task, [start])
        direction = self.direct(gradient * batch.mask[:, :, None], batch, vectors.detach().float())
        with context.extra_pass():
            perturbed = context.encoder(batch, word_noise=scale(direction, self._epsilon, TEXT))
        harmed = context.task_loss(perturbed.logits, batch.targets)
        return StepResult(losses={"task": WeightedLoss(task), "adversarial": WeightedLoss(harmed, self._weight)})

    def direct(
        self,
        gradient: Float[Tensor, "rows seq embedding"],
        batch: Batch,
        vectors: Float[Tensor, "vocabulary embedding"],
    ) -> Float[Tensor, "rows seq embedding"]:
        """The direction of the noise: the gradient, which is 0 on padding."""
        del batch, vectors
        return gradient


class WordIat(WordAt):
    """Word AT in which each word moves only along unit directions towards its nearest words.

    The nearest words are found at the start of each epoch, as published, for the words of the training data.
    """

    neighbours: Int[Tensor, "vocabulary count"]
    found_in: Int[Tensor, ""]

    def __init__(self, settings: WordIatSettings, encoder: Encoder, special_ids: Sequence[int]) -> None:
        super().__init__(settings.epsilon, settings.weight)
        self._special_ids = list(special_ids)
        size = encoder.word_vectors.shape[0]
        count = min(settings.neighbours, size - len(set(special_ids)) - 1)
        # They are in buffers, since a run that goes on within an epoch no longer has the vectors of the epoch's start.
        self.register_buffer("neighbours", torch.zeros(size, count, dtype=torch.long))
        self.register_buffer("found_in", torch.tensor(0))

    def before_epoch(self, examples: Sequence[Example], epoch: int, context: StepContext) -> Sequence[Example]:
        """Find the nearest words again; the examples stay as they are."""
        if self._weight != 0 and int(self.found_in) != epoch:
            used = {number for example in examples for row in example.encoded.rows for number in row.ids}
            words = torch.tensor(sorted(used), device=self.neighbours.device)
            vectors = context.encoder.word_vectors.detach()
            self.neighbours[words] = find_neighbours(vectors, words, self.neighbours.shape[1], self._special_ids)
            self.found_in.fill_(epoch)
        return examples

    def direct(
        self,
        gradient: Float[Tensor, "rows seq embedding"],
        batch: Batch,
        vectors: Float[Tensor, "vocabulary embedding"],
    ) -> Float[Tensor, "rows seq embedding"]:
        """The direction of the noise: towards each neighbour by how much that raises the loss."""
        return towards_neighbours(gradient, batch.ids, vectors, self.neighbours)


def find_neighbours(
    vectors: Float[Tensor, "vocabulary embedding"],
    words: Int[Tensor, " words"],
    count: int,
    special_ids: Sequence[int],
) -> Int[Tensor, "words count"]:
    """The `count` words nearest to each of `words` by cosine, nearest first; never itself or a special token."""
    units = nn.functional.normalize(vectors.float(), dim=-1)
    found = []
    for some in torch.split(words, 256):
        likeness = units[some] @ units.T
        likeness[:, list(special_ids)] = -torch.inf
        likeness[torch.arange(len(some), device=some.device), some] = -torch.inf
        found.append(likeness.topk(count, dim=-1).indices)
    return torch.cat(found)


def towards_neighbours(
    gradient: Float[Tensor, "rows seq embedding"],
    ids: Int[Tensor, "rows seq"],
    vectors: Float[Tensor, "vocabulary embedding"],
    neighbours: Int[Tensor, "vocabulary count"],
) -> Float[Tensor, "rows seq embedding"]:
    """sum_k A[t,k] D[t,k], with unit directions D to the neighbours; A = g . D has norm 1 for each token."""
    directions = nn.functional.normalize(vectors[neighbours[ids]] - vectors[ids][:, :, None], dim=-1)
    rises = (directions * gradient[:, :, None]).sum(-1)
    return (scale(rises, 1.0, (-1,))[..., None] * directions).sum(-2)


def build(settings: WordAtSettings, context: BuildContext) -> WordAt:
    """Word AT, which needs no context."""
    del context
    return WordAt(settings.epsilon, settings.weight)


def build_iat(settings: WordIatSettings, context: BuildContext) -> WordIat:
    """Word iAT, which never moves a word towards a special token."""
    return WordIat(settings, context.encoder, context.tokenizer.all_special_ids)


def reference(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray | float]:
    """The formulas at given arrays, in float64.

    `g` (batch, seq, width; the loss's gradient with respect to the word vectors), `m` (batch, seq; 1 on real tokens)
    and `eps` give `r_at` (batch, seq, width). With `ids` (batch, seq), `vectors` (vocabulary, width) and `K` the
    results also hold `neighbours` (batch, seq, K) by cosine and `r_iat` (batch, seq, width). If `special_ids` are
    given, none of them is a neighbour.

    Raises:
        WrongArray: an array is missing, unknown or misshapen, or an id or K is too large.
    """
    arrays = NamedArrays(inputs)
    real, epsilon = arrays.flags("m", "batch seq"), arrays.number("eps")
    gradient = arrays.floats("g", "batch seq width") * real[:, :, None]
    results = {"r_at": scale(gradient, epsilon, TEXT)}
    if arrays.has("ids", "vectors", "K", "special_ids"):
        ids, vectors = arrays.integers("ids", "batch seq"), arrays.floats("vectors", "vocabulary width")
        special = arrays.integers("special_ids", "special").tolist() if arrays.has("special_ids") else []
        count = int(arrays.number("K"))
        _check_words(ids, special, count, len(vectors))
        table = find_neighbours(vectors, torch.arange(len(vectors)), count, special)
        results["neighbours"] = table[ids]
        results["r_iat"] = scale(towards_neighbours(gradient, ids, vectors, table), epsilon, TEXT)
    arrays.finish()
    return {name: tensor.numpy() for name, tensor in results.items()}


def _check_words(ids: Int[Tensor, "batch seq"], special: Sequence[int], count: int, size: int) -> None:
    if any(not 0 <= number < size for number in (*ids.flatten().tolist(), *special)):
        raise WrongArray(f"arrays 'ids' and 'special_ids' hold numbers of words, from 0 to {size - 1}")
    if not 1 <= count < size - len(set(special)):
        raise WrongArray(f"'K' is {count}; of {size} words, {len(set(special))} special, that many have no neighbours")
