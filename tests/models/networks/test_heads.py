"""Training of each head: losses against loops in float64, and targets where they belong."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.data import Example
from models.networks.batches import collate
from models.networks.encoder import NO_CHOICE, Batch, Encoder
from models.networks.heads import IGNORED, label_or_number_loss, token_loss
from models.networks.loading import load_encoder
from models.tasks import ner
from models.tasks.ner import NerExample
from models.tasks.paraphrase import PARAPHRASE
from models.tasks.reading_comprehension import READING_COMPREHENSION, ReadingItem
from models.tasks.sts import STS
from models.tasks.task import Head
from models.text import Reader, ReadingLimits
from tests.tiny import make_tokenizer

READER = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=16))


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3


def _surprise(logits: Tensor, target: int) -> float:
    """Cross entropy of one prediction, in float64."""
    return math.log(sum(math.exp(logit) for logit in logits.tolist())) - float(logits[target])


def _collate(examples: list[Example], head: Head) -> Batch:
    return collate(examples, range(len(examples)), head, 0, torch.device("cpu"))


@pytest.mark.parametrize("batch", [1, 4])
def test_of_labels_the_loss_is_the_mean_cross_entropy(batch: int) -> None:
    logits, targets = _random(batch, 3), torch.arange(batch) % 3
    expected = sum(map(_surprise, logits, targets.tolist())) / batch
    assert float(label_or_number_loss(logits, targets)) == pytest.approx(expected, rel=1e-6, abs=1e-6)  # in float32


@pytest.mark.parametrize("batch", [1, 4])
def test_of_numbers_the_loss_is_the_mean_squared_error(batch: int) -> None:
    logits, targets = _random(batch, 1), _random(batch, seed=1)
    expected = sum((a - b) ** 2 for a, b in zip(logits[:, 0].tolist(), targets.tolist(), strict=True)) / batch
    assert float(label_or_number_loss(logits, targets)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("labelled", [[(0, 0)], [(0, 1), (0, 2), (2, 4)], [(r, c) for r in range(3) for c in range(5)]])
def test_of_tokens_the_loss_is_the_mean_over_those_that_are_labelled(labelled: list[tuple[int, int]]) -> None:
    logits, targets = _random(3, 5, 4), torch.full((3, 5), IGNORED)
    for row, column in labelled:
        targets[row, column] = (row + column) % 4
    expected = sum(_surprise(logits[place], int(targets[place])) for place in labelled) / len(labelled)
    assert float(token_loss(logits, targets)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_where_no_token_is_labelled_the_loss_and_its_gradient_are_zero() -> None:
    logits = _random(2, 3, 4).requires_grad_()
    loss = token_loss(logits, torch.full((2, 3), IGNORED))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert float(loss.detach()) == 0
    assert not gradient.any()


def _example(target: int, *choices: str) -> Example:
    item = ReadingItem(context="the film was good", question="was it", choices=choices)
    return Example(READING_COMPREHENSION.encode(item, READER, "right"), target)


@pytest.fixture(scope="module")
def chooser(base: Path) -> Encoder:
    torch.manual_seed(1)
    return load_encoder(base, "multiple-choice", ("choice",)).eval()


CHOICES = (("good", "bad"), ("fine", "a very dull film", "poor", "awful"), ("bad", "great", "dull"))


def test_a_choice_that_is_not_there_has_no_probability(chooser: Encoder) -> None:
    batch = _collate([_example(0, *choices) for choices in CHOICES], "multiple-choice")
    logits = chooser(batch).logits
    assert batch.choices == (2, 4, 3)
    absent = torch.tensor([[False, False, True, True], [False] * 4, [False, False, False, True]])
    assert torch.equal(logits == NO_CHOICE, absent)
    assert torch.equal(logits.softmax(-1) == 0, absent)


def test_examples_with_fewer_choices_have_the_loss_that_they_have_alone(chooser: Encoder) -> None:
    examples = [_example(number % len(choices), *choices) for number, choices in enumerate(CHOICES)]
    batches = [_collate(examples, "multiple-choice"), *(_collate([one], "multiple-choice") for one in examples)]
    together, *alone = (label_or_number_loss(chooser(batch).logits, batch.targets) for batch in batches)
    # Sums over padded rows are made in another order.
    torch.testing.assert_close(together, torch.stack(alone).mean(), rtol=0, atol=1e-5)


def test_choices_that_are_not_there_leave_the_gradient_finite(chooser: Encoder) -> None:
    batch = _collate([_example(1, *choices) for choices in CHOICES], "multiple-choice")
    loss = label_or_number_loss(chooser(batch).logits, batch.targets)
    gradients = torch.autograd.grad(loss, list(chooser.model.classifier.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def _tagged(tokens: str, *tags: int) -> Example:
    return Example(ner.encode(NerExample(tokens=tuple(tokens.split())), READER, "right"), tags)


def test_a_words_label_stands_at_its_first_token_only() -> None:
    batch = _collate([_tagged("zebra good unable", 1, 0, 3), _tagged("the film", 5, 6)], "token-classification")
    x = IGNORED
    #             [CLS] z ##e ##b ##r ##a good un ##able [SEP]; [CLS] the film [SEP] and padding
    assert batch.targets.tolist() == [[x, 1, x, x, x, x, 0, 3, x, x], [x, 5, 6, x, x, x, x, x, x, x]]


def test_words_that_are_cut_off_are_not_learnt_from() -> None:
    (example,) = [_tagged("the " * 20, *[2] * 20)]
    assert _collate([example], "token-classification").targets.tolist() == [[IGNORED, *[2] * 14, IGNORED]]


def test_a_word_that_the_tokenizer_drops_is_not_learnt_from() -> None:
    batch = _collate([_tagged("good \u0301 film", 1, 2, 3)], "token-classification")
    assert batch.targets.tolist() == [[IGNORED, 1, 3, IGNORED]]


def test_labels_are_whole_numbers_and_scores_are_not() -> None:
    encoded = READER.read_pair({"text_a": "good", "text_b": "bad"})
    kinds = [
        _collate([Example(encoded, task.read_target(1, encoded, task.outputs))], task.head).targets.dtype
        for task in (PARAPHRASE, STS)
    ]
    assert kinds == [torch.int64, torch.float32]
