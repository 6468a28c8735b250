"""AFA with other heads, its reference formulas against loops, and whole trainings with it."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForMultipleChoice, AutoModelForSequenceClassification, AutoModelForTokenClassification

from models.checkpoint import read_record
from models.networks.encoder import Encoder
from models.networks.loading import open_trained_model
from models.robust.afa import (
    Afa,
    AfaSettings,
    attention_received,
    first_positions,
    mask_chances,
    neglect,
    reference,
    word_shares,
)
from models.robust.method import StepContext
from models.robust.reference.arrays import WrongArray
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import TrainingError, TrainingSettings, check_settings
from tests.models.passes import make_batch, make_build_context, make_config, make_context, make_encoder
from tests.tiny import make_base


def _context(encoder: Encoder, **changed: Any) -> StepContext:
    """Half-way through a training: past the warm-up."""
    return replace(make_context(encoder), **{"share_done": 0.5, **changed})


LENGTHS = (9, 6, 5)
"""Rows with two words or more each, whatever of their random tokens is special."""


def _chances(attention: Tensor, maskable: Tensor, **given: float) -> Tensor:
    received = attention_received(attention, first_positions(maskable))
    neglected = neglect(word_shares(received, maskable), maskable)
    return mask_chances(neglected, maskable, AfaSettings.model_validate(given))


def test_choices_are_readings_with_rewards_of_their_own() -> None:
    torch.manual_seed(5)
    model = AutoModelForMultipleChoice.from_config(make_config(), attn_implementation="eager")
    encoder = Encoder(model).train()
    batch = replace(make_batch((9, 6, 5, 8, 7)), targets=torch.tensor([1, 0]), indices=torch.arange(2), choices=(2, 3))
    method = Afa(AfaSettings(), make_build_context(encoder, head="multiple-choice"))
    result = method.step(batch, _context(encoder))
    masked = method._find_words(batch)
    assert method._compare(encoder(batch), batch, masked, _context(encoder)).plain.shape == (5, 16)
    assert math.isfinite(result.losses["policy"].value.item())


def test_token_heads_are_compared_by_the_mean_of_real_states_and_read_at_all_real_queries() -> None:
    torch.manual_seed(5)
    model = AutoModelForTokenClassification.from_config(make_config(), attn_implementation="eager")
    encoder = Encoder(model).train()
    method = Afa(AfaSettings(), make_build_context(encoder, head="token-classification"))
    batch = make_batch(LENGTHS, padding=3)
    passed, maskable = encoder(batch, keep=[2]), method._find_words(batch)
    found = method._compare(passed, batch, maskable, _context(encoder)).plain
    expected = torch.stack([passed.states[row, :length].mean(0) for row, length in enumerate(LENGTHS)]).detach()
    torch.testing.assert_close(found, expected)
    received = torch.stack(
        [passed.kept[2].probabilities[row, :, :length].mean((0, 1)) for row, length in enumerate(LENGTHS)]
    )
    chances = mask_chances(neglect(word_shares(received, maskable), maskable), maskable, AfaSettings())
    torch.testing.assert_close(method._chances(passed, batch, maskable), chances)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"q_min": 0.3}, "settings: q_min 0.3, rho 0.25 and q_max 0.9 must not fall in this order"),
        ({"q_max": 0.2}, "settings: q_min 0.02, rho 0.25 and q_max 0.2 must not fall in this order"),
        ({"rho": 1.0, "q_max": 0.2}, "rho: must be less than 1"),
        ({"q_max": 1.0}, "q_max: must be less than 1"),
        ({"kappa": 0}, "kappa: must be more than 0"),
        ({"feedback_weight": -1}, "feedback_weight: must be at least 0"),
    ],
)
def test_settings_that_make_no_policy_are_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        check_settings(
            {"task": "sentiment", "method": "afa", "base": "b", "source": {"data": "d"}} | {"method_settings": given}
        )


def test_a_tokenizer_without_a_mask_token_is_refused() -> None:
    context = make_build_context(make_encoder())
    context.tokenizer.mask_token = None
    with pytest.raises(ValueError, match="tokenizer has no mask token"):
        Afa(AfaSettings(), context)


def _reference_inputs() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(5)
    attention = np.exp(draw.normal(size=(3, 2, 5, 5)))
    return {
        "attention": attention / attention.sum(-1, keepdims=True),
        "maskable": np.array([[0, 1, 1, 1, 0], [0, 1, 0, 1, 1], [0, 1, 0, 0, 0]]),
        "masks": np.array([[0, 1, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]),
        "rewards": np.array([0.3, 0.6, 0.9]),
        "base": np.array(0.55),
        "kappa": np.array(1.5),
        "q_max": np.array(0.5),
        "plain": draw.normal(size=(4, 3)),
        "masked": draw.normal(size=(4, 3)),
        "twin": draw.normal(size=(4, 3)),
        "hidden_weight": draw.normal(size=(3, 6)),
        "hidden_bias": draw.normal(size=3),
        "output_weight": draw.normal(size=3),
        "output_bias": np.array(0.2),
    }


def _loops(given: dict[str, np.ndarray], attention: np.ndarray) -> dict[str, Any]:
    """The policy's formulas, a word at a time; the last row has one word and takes no part."""
    found: dict[str, Any] = {name: np.zeros((3, 5)) for name in ("abar", "e", "q")}
    found |= {"logpi": np.zeros(3), "advantages": np.zeros(3), "l_pg": 0.0}
    spread = np.std(given["rewards"][:2])
    for row in range(2):
        words = [j for j in range(5) if given["maskable"][row, j]]
        received = {j: attention[row, :, 0, j].mean() for j in words}
        surprise = {j: -math.log(received[j] / sum(received.values()) + 1e-6) for j in words}
        found["advantages"][row] = (given["rewards"][row] - 0.55) / (spread + 1e-6)
        for j in words:
            found["abar"][row, j] = received[j] / sum(received.values())
            found["e"][row, j] = surprise[j] - sum(surprise.values()) / len(words)
            q = 1 / (1 + math.exp(-(1.5 * found["e"][row, j] + math.log(0.25 / 0.75))))
            found["q"][row, j] = q = min(max(q, 0.02), 0.5)
            found["logpi"][row] += math.log(q if given["masks"][row, j] else 1 - q)
        found["l_pg"] -= found["advantages"][row] * found["logpi"][row] / len(words) / 3
    return found


def test_every_array_of_the_reference_is_what_loops_in_float64_give() -> None:
    given = _reference_inputs()
    found = reference(given)
    expected = _loops(given, given["attention"])
    gradient = np.zeros_like(given["attention"])
    for place in np.ndindex(3, 2, 1, 5):  # other rows of queries are not read
        moved = []
        for shift in (1e-6, -1e-6):
            attention = given["attention"].copy()
            attention[place] += shift
            moved.append(_loops(given, attention)["l_pg"])
        gradient[place] = (moved[0] - moved[1]) / 2e-6
    np.testing.assert_allclose(found["attention_gradient"], gradient, atol=1e-8)  # of central differences
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
    assert (expected["q"] == 0.5).any()


def test_the_reference_judges_as_the_discriminator_does() -> None:
    given = _reference_inputs()
    found = reference(given)

    def odds(other: str) -> np.ndarray:
        pair = np.concatenate([np.abs(given["plain"] - given[other]), given["plain"] * given[other]], axis=1)
        before = pair @ given["hidden_weight"].T + given["hidden_bias"]
        after = before * 0.5 * (1 + np.vectorize(math.erf)(before / math.sqrt(2)))
        return np.asarray(after @ given["output_weight"] + 0.2)

    masked, twin = (1 / (1 + np.exp(-odds(other))) for other in ("masked", "twin"))
    assert found["l_dsc"] == pytest.approx(-np.log(masked).mean() - np.log(1 - twin).mean(), rel=1e-9)
    np.testing.assert_allclose(found["confusion"], 1 - masked, rtol=1e-9)


def test_the_reference_reads_all_real_queries_where_they_are_given() -> None:
    given = _reference_inputs()
    given["real"] = np.ones((3, 5))
    given["attention"][:, :, :] = given["attention"][:, :, :1]
    np.testing.assert_allclose(reference(given)["q"], reference(_reference_inputs())["q"])
    assert np.abs(reference(given)["attention_gradient"][:2, :, 4]).max() > 0  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("masks", np.eye(3, 5), "'masks' must mask maskable words alone, of rows that have two of them or more"),
        ("maskable", np.eye(3, 5), "'masks' must mask maskable words alone"),
        ("hidden_weight", np.zeros((3, 5)), r"'hidden_weight' has shape \(3, 5\); its second axis is twice the first"),
        ("lambda", np.array(0.1), "unknown arrays: lambda"),
    ],
)
def test_arrays_that_do_not_fit_the_reference_are_refused(name: str, array: np.ndarray, message: str) -> None:
    with pytest.raises(WrongArray, match=message):
        reference({**_reference_inputs(), name: array})


def _settings(base: Path, data: Path, **changed: Any) -> TrainingSettings:
    given = {
        "task": "sentiment", "method": "afa", "base": str(base), "source": {"data": str(data)}, "epochs": 2,
        "batch_size": 16, "learning_rate": 1e-3, "max_tokens": 32, "precision": "fp32", "save_every": 4, "seed": 3,
    }  # fmt: skip
    return check_settings(given | changed)


def _train(out: Path, settings: TrainingSettings) -> dict[str, Tensor]:
    train(settings, out, Watcher(say=lambda _: None, advance=lambda *_: None))
    return load_file(out / "model.safetensors")


def test_spans_are_refused(base: Path, data: Path) -> None:
    with pytest.raises(TrainingError, match="method afa means nothing for extractive-reading-comprehension"):
        _settings(base, data, task="extractive-reading-comprehension")


def test_without_weight_it_is_plain_training_bit_for_bit_whether_or_not_the_discriminator_learns(
    base: Path, data: Path, tmp_path: Path
) -> None:
    plain = _train(tmp_path / "plain", _settings(base, data, method="plain"))
    for name, changed in {"off": {"feedback_weight": 0}, "warm": {"warmup_share": 1.0}}.items():
        found = _train(tmp_path / name, _settings(base, data, method_settings=changed))
        assert all(torch.equal(found[one], plain[one]) for one in plain), name
    off, warm = (load_file(tmp_path / name / "method.safetensors") for name in ("off", "warm"))
    assert not any(torch.equal(warm[name], off[name]) for name in off)


def test_with_weight_the_weights_are_others(base: Path, data: Path, tmp_path: Path) -> None:
    plain = _train(tmp_path / "plain", _settings(base, data, method="plain"))
    found = _train(tmp_path / "afa", _settings(base, data))
    assert not all(torch.equal(found[one], plain[one]) for one in plain)


def test_a_checkpoint_is_the_stock_model_and_gives_its_logits_bit_for_bit(
    base: Path, data: Path, tmp_path: Path
) -> None:
    found = _train(tmp_path / "out", _settings(base, data))
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out", attn_implementation="eager").eval()
    assert found.keys() == stock.state_dict().keys()
    evaluated = open_trained_model(tmp_path / "out")
    encoded = evaluated.reader.read("the plot was lovely")
    with torch.inference_mode():
        logits = stock(input_ids=torch.tensor([encoded.rows[0].ids])).logits[0]
    assert torch.equal(torch.from_numpy(evaluated.run(encoded.rows)[0]), logits)
    assert {"reward", "reward_spread", "discriminator_accuracy"} < read_record(tmp_path / "out").epochs[0].losses.keys()


def test_while_the_policy_has_no_weight_accumulated_gradients_equal_those_of_the_big_batch(
    data: Path, tmp_path: Path
) -> None:
    """With weight they do not: advantages are divided by a batch's own spread, and the discriminator learns between."""
    calm = make_base(tmp_path / "base", dropout=0.0)
    given = {"warmup_share": 1.0}
    big = _train(tmp_path / "big", _settings(calm, data, batch_size=96, epochs=1, method_settings=given))
    small = _settings(calm, data, batch_size=16, accumulate=6, epochs=1, method_settings=given)
    found = _train(tmp_path / "small", small)
    for name in big:
        # AdamW's first step has the size of the learning rate whatever the gradient's: where the true gradient is 0 (a
        # key's bias), rounding alone decides the step, so those few parameters are left out.
        if not name.endswith("attention.self.key.bias"):
            torch.testing.assert_close(found[name], big[name], rtol=0, atol=1e-4)
    once, often = (load_file(tmp_path / name / "method.safetensors") for name in ("big", "small"))
    assert not any(torch.equal(often[name], once[name]) for name in once)
