"""The judge of AFA (our reading): its loss, its own Adam, and what it keeps."""

import math

import pytest
import torch
from torch import Tensor

from models.robust.discriminator import Discriminator, Readings


def _make(width: int = 4, *, seed: int = 0, learning_rate: float = 1e-2) -> Discriminator:
    return Discriminator(width, learning_rate, torch.Generator().manual_seed(seed))


def _seen(seed: int = 0, *, texts: int = 6, width: int = 4, moved: float = 1.0) -> Readings:
    """Masked readings are moved by `moved` on average, repeated ones by a tenth of 1."""
    generator = torch.Generator().manual_seed(seed)
    plain, noise, shift = torch.randn(3, texts, width, generator=generator)
    return Readings(plain=plain, masked=plain + moved * (1 + 0.1 * shift), repeated=plain + 0.1 * noise)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_the_loss_and_the_confusion_are_those_of_a_loop_in_float64() -> None:
    judge, seen = _make().double(), _seen(texts=3)
    hidden, output = judge.hidden, judge.output

    def odds(first: Tensor, second: Tensor) -> float:
        pair = [abs(a - b) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
        pair += [a * b for a, b in zip(first.tolist(), second.tolist(), strict=True)]
        total = output.bias.item()
        for unit in range(4):
            before = hidden.bias[unit].item() + sum(hidden.weight[unit, i].item() * pair[i] for i in range(8))
            total += output.weight[0, unit].item() * before * 0.5 * (1 + math.erf(before / math.sqrt(2)))
        return total

    masked = [odds(seen.plain[text], seen.masked[text]) for text in range(3)]
    repeated = [odds(seen.plain[text], seen.repeated[text]) for text in range(3)]
    loss = (
        -sum(math.log(_sigmoid(one)) for one in masked) / 3 - sum(math.log(1 - _sigmoid(one)) for one in repeated) / 3
    )
    assert judge.loss(seen).item() == pytest.approx(loss, rel=1e-12)
    assert judge.confusion(seen).tolist() == pytest.approx([1 - _sigmoid(one) for one in masked], rel=1e-12)


def test_it_is_updated_as_by_torchs_adam() -> None:
    judge, other = _make(), _make()
    adam = torch.optim.Adam(other.parameters(), lr=1e-2)
    for step in range(30):
        seen = _seen(step)
        before, _ = judge.learn(seen)
        assert before == pytest.approx(other.loss(seen).item(), rel=1e-5)  # rounding adds up over 30 updates
        adam.zero_grad()
        other.loss(seen).backward()  # type: ignore[no-untyped-call]
        adam.step()
    for found, expected in zip(judge.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)  # the same


def test_it_learns_to_tell_masked_texts_from_repeated_ones() -> None:
    judge = _make()
    accuracies = [judge.learn(_seen(step))[1] for step in range(200)]
    assert max(accuracies[:5]) < 1
    assert min(accuracies[-20:]) == 1
    assert judge.confusion(_seen(1000)).max().item() < 0.1


def test_accuracy_counts_masked_and_repeated_pairs_alike() -> None:
    judge = _make()
    with torch.no_grad():
        judge.output.weight.zero_()
        judge.output.bias.fill_(1.0)
    assert judge.learn(_seen())[1] == 0.5


def test_put_back_from_what_was_saved_it_goes_on_bit_for_bit() -> None:
    whole, resumed = _make(), _make(seed=9)
    for step in range(10):
        if step == 4:
            resumed.load_state_dict({name: tensor.clone() for name, tensor in whole.state_dict().items()})
        whole.learn(_seen(step))
        if step >= 4:
            resumed.learn(_seen(step))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


def test_confusion_is_a_probability_whatever_it_sees() -> None:
    found = torch.cat([_make().confusion(_seen(moved=moved)) for moved in (0.0, 1.0, 1e6)])
    assert ((found >= 0) & (found <= 1)).all()


def test_learning_leaves_no_gradient_and_what_it_saw_as_it_was() -> None:
    judge, seen, copy = _make(), _seen(), _seen()
    judge.learn(seen)
    assert all(parameter.grad is None for parameter in judge.parameters())
    assert all(torch.equal(getattr(seen, name), getattr(copy, name)) for name in ("plain", "masked", "repeated"))


def test_it_has_two_maps_of_the_width_and_starts_as_torchs_linear_layers_do() -> None:
    judge = _make(768)
    assert sum(parameter.numel() for parameter in judge.parameters()) == 2 * 768 * 768 + 768 + 768 + 1
    for linear in (judge.hidden, judge.output):
        bound = linear.in_features**-0.5
        assert linear.weight.abs().max().item() <= bound
        assert linear.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)  # of a uniform distribution


def test_under_autocast_it_stays_in_float32() -> None:
    judge, seen = _make(), _seen()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = judge(seen.plain.bfloat16(), seen.masked.bfloat16())
    assert found.dtype == torch.float32
