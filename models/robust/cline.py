"""CLINE: contrastive learning with semantic negative examples (Wang et al., ACL 2021, arXiv 2107.00440).

Each text has two copies (`models.synonyms.triples`). The encoder learns three things: the masked words of the text, the
replaced words of the copies, and to keep the text's vector nearer to the copy that means the same than to the one that
does not. In pre-training the text's own loss is that of its masked words. In fine-tuning on labelled texts it is the
task's, and the other two losses are auxiliary.

The losses are the article's, as far as public notes quote it. Where the article is silent or unsafe there are three
choices: dot products are divided by the root of the width, losses are averaged, and texts whose copies are unchanged
are left out of the contrast. Form `code` has the released code's losses (`kandorm/CLINE`), which differ in detection
and contrast. In both forms the text's vector is that of its masked form, so that a text costs three sequences, not
four. The text and its copies are two passes here, not one; the first is plain training's.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor, nn

from models.data import Example
from models.errors import UserError
from models.networks.batches import collate
from models.networks.encoder import Batch, EncoderError
from models.networks.heads import IGNORED
from models.networks.masking import MaskedExamples, Masking
from models.robust.copies import Copies, CopyReader, Form, texts_in_row
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
from models.synonyms.triples import AS_RELEASED, REFINED, Construction, TripleMaker, make_triples
from models.synonyms.wordnet import default_folder
from models.tasks.task import Head

LOSSES = ("task", "detection", "contrast")
COSINE_TEMPERATURE = 0.1
AUXILIARY_WEIGHT = 0.1
"""Weight of detection and of contrast beside a task's own loss."""


class ClineError(UserError):
    """Settings that mean nothing for what is trained."""


class ClineSettings(MethodSettings):
    """Settings of the copies, the losses and their weights."""

    form: Form = Field(default="article", description="Form of the losses: the article's, or the released code's.")
    triples: Literal["refined", "code"] = Field(
        default="refined", description="Way of making copies: refined, or as in the released code."
    )
    weighting: Literal["sum", "learned"] = Field(
        default="sum",
        description="learned: each loss L counts as exp(-c) L + max(c, 0), where c is learned and starts at 0.",
    )
    task_weight: float = Field(default=1.0, ge=0, description="Weight of the loss of masked words, or of the task.")
    detection_weight: float | None = Field(
        default=None,
        ge=0,
        description="Weight of finding replaced words; None means 1 in pre-training, 0.1 beside a task.",
    )
    contrast_weight: float | None = Field(
        default=None, ge=0, description="Weight of the contrast; None as for detection."
    )
    similarity: Literal["dot", "cosine"] = Field(default="dot", description="Similarity of two texts' vectors.")
    temperature: PositiveFloat | None = Field(
        default=None, description="Similarities are divided by it; None means the root of the width (cosine: 0.1)."
    )
    synonymous_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Largest share of words replaced in the copy that means the same; None means 0.4 (code: 0.5).",
    )
    opposite_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Largest share of words replaced in the other copy; None means 0.2 (code: 0.5).",
    )
    wordnet: Path = Field(default_factory=default_folder, description="Folder of WordNet's database files.")
    nouns: Path | None = Field(
        default=None,
        description="File of nouns, one a line, to draw from in triples code; None means WordNet's frequent nouns.",
    )
    control: bool = Field(
        default=False, description="For comparison: two more maskings of each text in place of its copies."
    )

    @model_validator(mode="after")
    def _refuse_what_is_not_read(self) -> "ClineSettings":
        if self.form == "code" and (self.similarity != "dot" or self.temperature is not None):
            raise ValueError("form 'code' has its own similarity; leave out similarity and temperature")
        if self.triples == "refined" and self.nouns is not None:
            raise ValueError("nouns are for triples 'code'; refined ones draw from WordNet")
        return self

    @property
    def construction(self) -> Construction:
        """The way of making copies that these settings ask for."""
        preset = REFINED if self.triples == "refined" else AS_RELEASED
        synonymous, opposite = self.synonymous_share, self.opposite_share
        return Construction(
            synonymous_share=preset.synonymous_share if synonymous is None else synonymous,
            opposite_share=preset.opposite_share if opposite is None else opposite,
            refined=preset.refined,
        )

    def weights(self, head: Head) -> dict[str, float]:
        """The weight of each loss, for this head."""
        own = 1.0 if head == "masked-language-model" else AUXILIARY_WEIGHT
        given = self.task_weight, self.detection_weight, self.contrast_weight
        return {name: own if weight is None else weight for name, weight in zip(LOSSES, given, strict=True)}


def similarities(
    first: Float[Tensor, "batch width"], second: Float[Tensor, "batch width"], kind: Literal["dot", "cosine"]
) -> Float[Tensor, " batch"]:
    """Similarity of each pair of vectors, before the temperature is applied."""
    if kind == "cosine":
        return nn.functional.cosine_similarity(first, second, dim=-1)
    return (first * second).sum(-1)


def contrast_loss(
    synonymous: Float[Tensor, " batch"], opposite: Float[Tensor, " batch"], counts: Bool[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """The article's loss: -log of the synonymous copy's softmax against the opposite one, softplus(v - s).

    It is a mean over the texts that count, and 0 if none does. The arguments are similarities divided by the
    temperature; no exponential of a similarity is ever formed.
    """
    losses = nn.functional.softplus(opposite - synonymous)
    return torch.where(counts, losses, 0.0).sum() / counts.sum().clamp(min=1)


def separate_contrast_loss(
    synonymous: Float[Tensor, " batch"], opposite: Float[Tensor, " batch"], width: int
) -> Float[Tensor, ""]:
    """The released code's loss: two logistic losses on dot products divided by the width, a mean over all copies."""
    positive, negative = nn.functional.softplus(-synonymous / width), nn.functional.softplus(opposite / width)
    return (positive.sum() + negative.sum()) / (2 * len(synonymous))


def detection_loss(logits: Float[Tensor, "rows seq classes"], labels: Int[Tensor, "rows seq"]) -> Float[Tensor, ""]:
    """Cross entropy, a mean over the labelled tokens of all rows, 0 if none is labelled; one class is binary."""
    is_labelled = labels != IGNORED
    chosen, wanted = logits[is_labelled], labels[is_labelled]
    if logits.shape[-1] == 1:
        summed = nn.functional.binary_cross_entropy_with_logits(
            chosen.squeeze(-1), wanted.to(logits.dtype), reduction="sum"
        )
    else:
        summed = nn.functional.cross_entropy(chosen, wanted, reduction="sum")
    return summed / is_labelled.sum().clamp(min=1)


def weigh(loss: Float[Tensor, ""], log_weight: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """exp(-c) L + max(c, 0), whose last term has gradient 1 at c = 0; it is least at c = log L, or at 0 if L < 1."""
    return torch.exp(-log_weight) * loss + log_weight.clamp(min=0)


class Detector(nn.Module):
    """Finds replaced words: one linear map without bias (article), or a small form of the masked words' head (code)."""

    def __init__(self, width: int, form: Form, generator: torch.Generator) -> None:
        super().__init__()
        if form == "article":
            self.layers = nn.Sequential(_linear(width, 1, generator, bias=False))
        else:
            inner, outer = _linear(width, width, generator), _linear(width, 3, generator)
            self.layers = nn.Sequential(inner, nn.GELU(), nn.LayerNorm(width, eps=1e-12), outer)

    def forward(self, states: Float[Tensor, "rows seq width"]) -> Float[Tensor, "rows seq classes"]:
        """A logit for "replaced"; in the code's form three logits, for kept, like and opposite words."""
        logits: Tensor = self.layers(states)
        return logits


class Cline(Method):
    """Takes a plain pass over the texts and one over their copies."""

    def __init__(self, settings: ClineSettings, context: BuildContext, maker: TripleMaker | None) -> None:
        """Without a maker of copies, only the plain pass is left."""
        super().__init__()
        generator = torch.Generator().manual_seed(context.seed)
        width = context.encoder.width
        self.settings = settings
        self.weights = settings.weights(context.head)
        self.detector = Detector(width, settings.form, generator)
        self.pooler = _linear(width, width, generator) if settings.form == "code" else None
        self.log_weights = nn.Parameter(torch.zeros(3)) if settings.weighting == "learned" else None
        self._maker = maker
        self._reader = CopyReader(context.tokenizer, context.max_tokens, settings.form)
        self._temperature = settings.temperature or (
            COSINE_TEMPERATURE if settings.similarity == "cosine" else math.sqrt(width)
        )
        self._examples: Sequence[Example] = ()
        self._epoch = 0

    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """The heads, trained as the encoder; and the log-weights, without weight decay, which would pull them to 0."""
        heads = tuple(parameter for name, parameter in self.named_parameters() if name != "log_weights")
        groups = [ParameterGroup(name="copies", parameters=heads)]
        if self.log_weights is not None:
            groups.append(ParameterGroup(name="log-weights", parameters=(self.log_weights,), weight_decay=0.0))
        return tuple(groups)

    def before_epoch(self, examples: Sequence[Example], epoch: int, context: StepContext) -> Sequence[Example]:
        """The examples as they are; each epoch has other copies of them, which are made when a batch needs them."""
        del context
        self._examples, self._epoch = examples, epoch
        return examples

    def step(self, batch: Batch, context: StepContext) -> StepResult:
        """The loss of masked words or of the task + detection + contrast, each with its weight."""
        plain = context.encoder(batch)
        values = {"task": context.task_loss(plain.logits, batch.targets)}
        if self._maker is None:
            return StepResult(losses={"task": WeightedLoss(values["task"], self.weights["task"])})
        copies = self._read_copies(self._maker, batch.indices, context.seed)
        with context.extra_pass():
            states = context.encoder.states(copies.batch)
        with torch.autocast(states.device.type, enabled=False):
            states, original = states.float(), plain.states[:, 0].float()
            values["detection"] = detection_loss(self.detector(states), copies.labels)
            values["contrast"], hits = self._contrast(original, states[:, 0], copies.is_changed)
            scalars = {"hits": float(hits)}
            if self.log_weights is not None:
                scalars |= {f"unweighted_{name}": float(value.detach()) for name, value in values.items()}
                pairs = zip(values.items(), self.log_weights, strict=True)
                values = {name: weigh(value, log_weight) for (name, value), log_weight in pairs}
        return StepResult(
            losses={name: WeightedLoss(value, self.weights[name]) for name, value in values.items()}, scalars=scalars
        )

    def _contrast(
        self,
        original: Float[Tensor, "batch width"],
        copies: Float[Tensor, "rows width"],
        is_changed: Bool[Tensor, " rows"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The contrast, and the share of all texts that are nearer to the copy that means the same."""
        if self.pooler is not None:
            original, copies = (torch.tanh(self.pooler(vectors)) for vectors in (original, copies))
        s, v = (similarities(original, half, self.settings.similarity) for half in copies.chunk(2))
        hits = (s > v).float().mean()
        if self.pooler is not None:
            return separate_contrast_loss(s, v, original.shape[-1]), hits
        both = torch.stack(is_changed.chunk(2)).all(0)
        return contrast_loss(s / self._temperature, v / self._temperature, both), hits

    def _read_copies(self, maker: TripleMaker, indices: Tensor, seed: int) -> Copies:
        made = [
            [
                maker.make(text, f"{seed}/{self._epoch}/{index}/{number}")
                for number, text in enumerate(texts_in_row(self._examples[index].encoded))
            ]
            for index in indices.tolist()
        ]
        synonymous = [[triple.synonymous for triple in triples] for triples in made]
        opposite = [[triple.opposite for triple in triples] for triples in made]
        return self._reader.read(synonymous, opposite, indices.device)


class MoreMaskedWords(Method):
    """The control: each text is read in three maskings, so that there are as many sequences as with copies."""

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self._masking = Masking.of(context.tokenizer)
        self._pad_id = int(context.tokenizer.pad_token_id)
        self._examples: Sequence[Example] = ()
        self._epoch = 0

    def before_epoch(self, examples: Sequence[Example], epoch: int, context: StepContext) -> Sequence[Example]:
        """The examples as they are."""
        del context
        self._examples, self._epoch = examples, epoch
        return examples

    def step(self, batch: Batch, context: StepContext) -> StepResult:
        """The mean loss of the three maskings."""
        first = context.task_loss(context.encoder(batch).logits, batch.targets)
        # Masks drawn by other seeds than the plain pass's.
        maskings = (
            MaskedExamples(self._examples, self._masking, context.seed + number, self._epoch) for number in (1, 2)
        )
        again = [masked[index] for masked in maskings for index in batch.indices.tolist()]
        more = collate(again, range(len(again)), "masked-language-model", self._pad_id, batch.ids.device)
        with context.extra_pass():
            others = context.task_loss(context.encoder(more).logits, more.targets)
        return StepResult(losses={"task": WeightedLoss(first, 1 / 3), "more_masked_words": WeightedLoss(others, 2 / 3)})


def build(settings: ClineSettings, context: BuildContext) -> Method:
    """CLINE or its control. WordNet is read only if copies are made.

    Raises:
        EncoderError: the base's first token does not stand for a whole text.
        ClineError: the control is asked for beside a task.
        WordNetError: there is no WordNet to make copies with.
    """
    if not context.encoder.self_attends:
        raise EncoderError(
            "method cline compares texts by their first token, which attends to all others; a BiLSTM has none such: "
            "choose another method, or another base"
        )
    if settings.control:
        if context.head != "masked-language-model":
            raise ClineError("control: masked words are learnt in pre-training only; leave it out beside a task")
        return MoreMaskedWords(context)
    weights = settings.weights(context.head)
    is_off = not weights["detection"] and not weights["contrast"]
    maker = None if is_off else make_triples(settings.wordnet, settings.construction, settings.nouns)
    return Cline(settings, context, maker)


def reference(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray | float]:
    """The formulas at given arrays, in float64.

    `original`, `synonymous` and `opposite` (batch, width), the vectors of the texts and their copies, give the dot
    products `s` and `v`, the article's `contrast` L_CTS and its gradients `original_gradient`, `synonymous_gradient`
    and `opposite_gradient`. `temperature` is the root of the width unless given. Texts count where `counts` (batch; 0
    or 1) is 1; all count unless it is given. With `pooled` = 1 the vectors are the code's pooled ones, and `contrast`
    is L_sec.

    `logits` (rows, seq; or rows, seq, classes) and `labels` (rows, seq; -100 on unlabelled tokens) give `detection`
    L_RTD, binary or over the classes, and `logits_gradient`.

    With `task_loss` the results also hold `total`; `task_weight`, `detection_weight` and `contrast_weight` are 1 unless
    given. With `log_weights` (losses: task, detection, contrast), `total` is that of the learned weighting, and there
    is `log_weights_gradient`.

    Raises:
        WrongArray: an array is missing, unknown or misshapen.
    """
    arrays = NamedArrays(inputs)
    results: dict[str, Tensor] = {}
    if arrays.has("original", "synonymous", "opposite", "temperature", "counts", "pooled"):
        results |= _reference_contrast(arrays)
    if arrays.has("logits", "labels"):
        logits = arrays.floats("logits", "rows seq ...").requires_grad_()
        classes = logits if logits.ndim == 3 else logits[..., None]
        results["detection"] = detection_loss(classes, arrays.integers("labels", "rows seq"))
        (results["logits_gradient"],) = torch.autograd.grad(results["detection"], logits, retain_graph=True)
    if arrays.has("task_loss", "log_weights", *(f"{name}_weight" for name in LOSSES)):
        results |= _reference_total(arrays, results)
    arrays.finish()
    return {name: tensor.detach().numpy() for name, tensor in results.items()}


def _reference_contrast(arrays: NamedArrays) -> dict[str, Tensor]:
    names = ("original", "synonymous", "opposite")
    vectors = [arrays.floats(name, "batch width").requires_grad_() for name in names]
    original, synonymous, opposite = vectors
    batch, width = original.shape
    s, v = (similarities(original, copy, "dot") for copy in (synonymous, opposite))
    counts = arrays.flags("counts", "batch") if arrays.has("counts") else torch.ones(batch, dtype=torch.bool)
    temperature = arrays.number("temperature", math.sqrt(width))
    if arrays.number("pooled", 0.0):
        contrast = separate_contrast_loss(s, v, width)
    else:
        contrast = contrast_loss(s / temperature, v / temperature, counts)
    gradients = torch.autograd.grad(contrast, vectors, retain_graph=True)
    named = {f"{name}_gradient": gradient for name, gradient in zip(names, gradients, strict=True)}
    return {"s": s, "v": v, "contrast": contrast, **named}


def _reference_total(arrays: NamedArrays, results: Mapping[str, Tensor]) -> dict[str, Tensor]:
    losses = {"task": arrays.floats("task_loss", ""), **results}
    found = [losses.get(name, torch.zeros((), dtype=torch.float64)) for name in LOSSES]
    weights = [arrays.number(f"{name}_weight", 1.0) for name in LOSSES]
    if not arrays.has("log_weights"):
        return {"total": torch.stack([weight * loss for weight, loss in zip(weights, found, strict=True)]).sum()}
    log_weights = arrays.floats("log_weights", "losses").requires_grad_()
    terms = zip(weights, found, log_weights, strict=True)
    total = torch.stack([weight * weigh(loss, log_weight) for weight, loss, log_weight in terms]).sum()
    (gradient,) = torch.autograd.grad(total, log_weights, retain_graph=True)
    return {"total": total, "log_weights_gradient": gradient}


def _linear(inner: int, outer: int, generator: torch.Generator, *, bias: bool = True) -> nn.Linear:
    """A linear map, initialised as any in the backbone is, from a generator that is not plain training's."""
    # Created without values, since a linear layer would draw them from plain training's generator.
    linear: nn.Linear = nn.utils.skip_init(nn.Linear, inner, outer, bias=bias)  # type: ignore[no-untyped-call]
    nn.init.normal_(linear.weight, std=0.02, generator=generator)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear
