"""The losses of noise beside a method, against formulas written out."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from models.methods import METHODS
from models.networks.alignment import pad_places
from models.networks.encoder import Batch
from models.robust import IMPLEMENTATIONS, read_settings
from models.robust.method import StepContext, StepResult
from models.robust.noisy_step import NoiseStrength, Version, noisy_losses
from models.robust.plain import Plain
from models.tasks.task import Head
from tests.models.passes import gradients, make_batch, make_build_context, make_context, make_encoder, total

LENGTH = 0.3
HEAD: Head = "sequence-classification"


def _version(batch: Batch) -> Version:
    return Version(batch=batch, places=pad_places([[]] * len(batch.targets), 0, torch.device("cpu")))


def _other_words(batch: Batch, seed: int) -> Batch:
    """The batch with other words in its rows."""
    drawn = torch.randint(1, 50, batch.ids.shape, generator=torch.Generator().manual_seed(seed))
    return replace(batch, ids=drawn * batch.mask)


def _take(
    context: StepContext, strength: NoiseStrength, batch: Batch, copies: tuple[Batch, ...] = ()
) -> list[StepResult]:
    """All parts of a step, with their gradients left in the encoder."""
    parts = []
    for part in noisy_losses(Plain(), context, HEAD, strength, _version(batch), tuple(map(_version, copies))):
        total(part).backward()  # type: ignore[no-untyped-call]
        parts.append(part)
    return parts


def _divergence(first: Tensor, second: Tensor) -> Tensor:
    p, q = first.softmax(-1), second.softmax(-1)
    return 0.5 * ((q - p) * (q.log() - p.log())).sum(-1).mean()


def test_without_noise_there_is_the_methods_step_and_nothing_else() -> None:
    encoder, batch = make_encoder(dropout=0.2), make_batch()
    torch.manual_seed(1)
    (part,) = _take(make_context(encoder), NoiseStrength(word_noise=0.0, consistency=1.0), batch)
    torch.manual_seed(1)
    expected = Plain().step(batch, make_context(encoder))
    assert part.losses.keys() == expected.losses.keys()
    assert torch.equal(total(part), total(expected))


def test_the_methods_pass_has_the_draws_of_plain_training_under_any_noise() -> None:
    encoder, batch = make_encoder(dropout=0.2), make_batch()
    torch.manual_seed(1)
    parts = _take(make_context(encoder), NoiseStrength(word_noise=LENGTH, consistency=1.0), batch, (make_batch(),))
    after = torch.random.get_rng_state()
    torch.manual_seed(1)
    expected = Plain().step(batch, make_context(encoder))
    assert torch.equal(parts[0].losses["task"].value, expected.losses["task"].value)
    assert torch.equal(after, torch.random.get_rng_state())


def test_words_move_by_their_length_along_the_gradient_of_the_text() -> None:
    encoder, batch = make_encoder(), make_batch()
    parts = _take(make_context(encoder), NoiseStrength(word_noise=LENGTH, consistency=0.5), batch)
    start = torch.zeros(*batch.ids.shape, encoder.word_vectors.shape[1], requires_grad=True)
    clean = encoder(batch, word_noise=start).logits
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(clean, batch.targets), start)
    unit = gradient / torch.linalg.vector_norm(gradient, dim=-1, keepdim=True)
    moved = encoder(batch, word_noise=torch.where(batch.mask[:, :, None], LENGTH * unit, 0)).logits
    found = {name: loss.value for name, loss in parts[1].losses.items()}
    torch.testing.assert_close(found["moved"], nn.functional.cross_entropy(moved, batch.targets))
    torch.testing.assert_close(found["moved_apart"], _divergence(clean, moved))
    assert parts[1].losses["moved_apart"].weight == 0.5
    assert found["moved"] > parts[0].losses["task"].value


def test_the_gradients_of_both_parts_are_those_of_the_whole_formula() -> None:
    """Of the pass under noise, only the agreement's other side and the noise itself pass no gradient."""
    encoder, batch = make_encoder(), make_batch()
    copy = _other_words(batch, 1)
    encoder.zero_grad()
    _take(make_context(encoder), NoiseStrength(word_noise=LENGTH, consistency=0.7), batch, (copy,))
    found = [parameter.grad for parameter in encoder.parameters()]
    start = torch.zeros(*batch.ids.shape, encoder.word_vectors.shape[1], requires_grad=True)
    clean, noisy = encoder(batch, word_noise=start).logits, encoder(copy).logits
    loss = nn.functional.cross_entropy(clean, batch.targets) + nn.functional.cross_entropy(noisy, batch.targets)
    loss = loss + 0.7 * _divergence(clean, noisy)
    (gradient,) = torch.autograd.grad(loss, start, retain_graph=True)
    unit = gradient / torch.linalg.vector_norm(gradient, dim=-1, keepdim=True)
    moved = encoder(batch, word_noise=torch.where(batch.mask[:, :, None], LENGTH * unit, 0)).logits
    loss = loss + nn.functional.cross_entropy(moved, batch.targets) + 0.7 * _divergence(clean.detach(), moved)
    for one, expected in zip(found, gradients(encoder, loss), strict=True):
        torch.testing.assert_close(torch.zeros_like(expected) if one is None else one, expected, rtol=1e-4, atol=1e-6)


def test_of_several_copies_the_one_with_the_highest_loss_counts_for_each_example() -> None:
    encoder, batch = make_encoder(dropout=0.0), make_batch((7, 6, 5))
    copies = tuple(_other_words(batch, seed) for seed in (1, 2, 3))
    (part,) = _take(make_context(encoder), NoiseStrength(word_noise=0.0, consistency=1.0), batch, copies)
    losses = torch.stack(
        [nn.functional.cross_entropy(encoder(copy).logits, batch.targets, reduction="none") for copy in copies]
    )
    assert len(set(losses.argmax(0).tolist())) > 1
    torch.testing.assert_close(part.losses["copy"].value, losses.amax(0).mean())
    assert encoder.training


class _TwoPasses(Plain):
    """A method whose later pass must not be taken for the text's."""

    def step(self, batch: Batch, context: StepContext) -> StepResult:
        result = super().step(batch, context)
        with context.extra_pass():
            context.encoder(_other_words(batch, 9), word_noise=torch.ones(*batch.ids.shape, 16))
        return result


def test_only_the_methods_first_pass_is_that_of_the_text() -> None:
    encoder, batch = make_encoder(), make_batch()
    strength = NoiseStrength(word_noise=LENGTH, consistency=1.0)
    expected = _take(make_context(encoder), strength, batch)[1]
    parts = noisy_losses(_TwoPasses(), make_context(encoder), HEAD, strength, _version(batch), ())
    total(next(parts)).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(total(next(parts)), total(expected))


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("plain", "cline")])
def test_noise_goes_with_every_method(name: str) -> None:
    encoder, batch = make_encoder(dropout=0.1), make_batch((7, 6, 5))
    method = IMPLEMENTATIONS[name].build(read_settings(name, {}), make_build_context(encoder))
    method.train()
    context = make_context(encoder)
    parts = noisy_losses(
        method, context, HEAD, NoiseStrength(word_noise=LENGTH, consistency=1.0), _version(batch), (_version(batch),)
    )
    names: list[str] = []
    for part in parts:
        total(part).backward()  # type: ignore[no-untyped-call]
        names += part.losses
    assert names[-4:] == ["copy", "copy_apart", "moved", "moved_apart"]
    found = [parameter.grad for parameter in encoder.parameters() if parameter.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in found)
