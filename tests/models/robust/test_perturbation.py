"""Noise on attention scores: its length, its direction and where it is, against loops and closed forms in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from models.robust.perturbation import (
    NoiseSettings,
    NoSuchLayer,
    Site,
    Variant,
    choose_site,
    draw_noise,
    emphasise,
    mean_entropy,
    scale,
    stand_out,
)
from models.tasks.task import Head
from tests.models.passes import make_batch, make_encoder

ROW = (-1,)
EXAMPLE = (0, 2, 3, 4)
VARIANTS: tuple[Variant, ...] = ("weighted", "literal", "sign", "code")


def _row(real: int = 5, seq: int = 7, *, batch: int = 3, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, gradients as a softmax passes them on (their sum is 0), and which tokens are real."""
    generator = torch.Generator().manual_seed(seed)
    scores, upstream = (torch.randn(batch, seq, generator=generator, dtype=torch.float64) for _ in range(2))
    mask = (torch.arange(seq) < real).expand(batch, seq)
    attention = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    gradient = attention * (upstream - (attention * upstream).sum(-1, keepdim=True))
    return scores, gradient, mask


def _literal(scores: list[float], gradient: list[float], epsilon: float, *, by_word: bool) -> list[float]:
    """Equations of the article, word for word, over the real tokens of one text."""
    size = len(scores)
    rows = []
    for t in range(size):
        row = [scores[t] - scores[k] for k in range(size)]
        length = math.sqrt(sum(entry**2 for entry in row))
        rows.append([entry / length for entry in row])
    freed = [[gradient[t] * rows[t][k] for k in range(size)] for t in range(size)]
    whole = math.sqrt(sum(entry**2 for row in freed for entry in row))
    norms = [math.sqrt(sum(entry**2 for entry in row)) if by_word else whole for row in freed]
    return [sum(epsilon * freed[t][k] / norms[t] * rows[t][k] for k in range(size)) for t in range(size)]


@given(arrays.arrays(np.float32, (3, 6), elements=st.floats(-1e3, 1e3, width=32)), st.sampled_from([0.1, 1.0, 5.0]))
@settings(deadline=None)
def test_every_row_with_a_direction_has_the_whole_length(rows: np.ndarray, length: float) -> None:
    direction = torch.from_numpy(rows)
    norms = torch.linalg.vector_norm(scale(direction, length, ROW), dim=-1)
    expected = torch.where((direction != 0).any(-1), length, 0.0)
    torch.testing.assert_close(norms, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("factor", [1e-40, 1e-20, 1.0, 1e30])
def test_the_size_of_the_gradient_does_not_matter_however_small(factor: float) -> None:
    _, gradient, _ = _row()
    expected = scale(gradient, 2.0, ROW)
    found = scale((gradient * factor).float(), 2.0, ROW)
    # Of numbers near 1e-40 float32 keeps four digits.
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-4)


def test_a_gradient_of_exactly_0_gives_no_noise() -> None:
    assert not scale(torch.zeros(2, 5), 1.0, ROW).any()


def test_scaling_keeps_the_direction() -> None:
    _, gradient, _ = _row()
    cosine = torch.nn.functional.cosine_similarity(scale(gradient, 3.0, ROW), gradient, dim=-1)
    torch.testing.assert_close(cosine, torch.ones(3, dtype=torch.float64))


def test_noise_along_a_softmaxs_gradient_sums_to_0() -> None:
    _, gradient, _ = _row()
    assert scale(gradient, 1.0, ROW).sum(-1).abs().max() < 1e-12


@given(arrays.arrays(np.float64, 7, elements=st.floats(-50, 50)), st.integers(1, 7))
@settings(deadline=None)
def test_weights_are_the_double_sum_over_real_tokens(scores: np.ndarray, real: int) -> None:
    expected = [sum((a - b) ** 2 for b in scores[:real]) for a in scores[:real]] + [0.0] * (7 - real)
    found = stand_out(torch.from_numpy(scores), torch.arange(7) < real)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)  # squares of up to 100, seven of them


def test_adding_a_constant_to_all_scores_of_a_row_changes_nothing() -> None:
    scores, gradient, real = _row()
    for variant in VARIANTS:
        here = emphasise(gradient, scores, real, variant, 1.0, ROW)
        torch.testing.assert_close(emphasise(gradient, scores + 7.5, real, variant, 1.0, ROW), here)


def test_weighted_noise_is_the_gradient_times_the_weights_at_the_set_length() -> None:
    scores, gradient, real = _row(real=5)
    for b in range(3):
        u, g = scores[b, :5].tolist(), gradient[b, :5].tolist()
        emphasised = [g[t] * sum((u[t] - u[k]) ** 2 for k in range(5)) for t in range(5)]
        norm = math.sqrt(sum(entry**2 for entry in emphasised))
        expected = [1.7 * entry / norm for entry in emphasised] + [0.0, 0.0]
        found = emphasise(gradient, scores, real, "weighted", 1.7, ROW)[b]
        assert found.tolist() == pytest.approx(expected, rel=1e-12)


def test_the_articles_formula_is_attention_at() -> None:
    scores, gradient, real = _row(real=5)
    found = emphasise(gradient, scores, real, "literal", 1.7, ROW)
    torch.testing.assert_close(found, scale(gradient, 1.7, ROW), rtol=1e-12, atol=0)
    for b in range(3):
        expected = _literal(scores[b, :5].tolist(), gradient[b, :5].tolist(), 1.7, by_word=False)
        assert found[b, :5].tolist() == pytest.approx(expected, rel=1e-12)


def test_the_articles_formula_with_a_norm_for_each_word_is_the_sign() -> None:
    scores, gradient, real = _row(real=5)
    found = emphasise(gradient, scores, real, "sign", 1.7, ROW)
    for b in range(3):
        expected = _literal(scores[b, :5].tolist(), gradient[b, :5].tolist(), 1.7, by_word=True)
        assert found[b].tolist() == pytest.approx([*expected, 0.0, 0.0], rel=1e-12)


def test_the_released_program_computes_the_opposite_of_attention_at() -> None:
    scores, gradient, real = _row()
    assert torch.equal(emphasise(gradient, scores, real, "code", 1.7, ROW), -scale(gradient, 1.7, ROW))


@pytest.mark.parametrize(("variant", "rises"), [("weighted", 1), ("literal", 1), ("sign", 1), ("code", -1)])
def test_noise_raises_the_loss_to_first_order_but_for_the_programs(variant: Variant, rises: int) -> None:
    scores, gradient, real = _row(batch=20)
    increase = (emphasise(gradient, scores, real, variant, 1.0, ROW) * gradient).sum(-1)
    assert (increase * rises > 0).all()


@pytest.mark.parametrize("axes", [ROW, EXAMPLE])
def test_where_all_scores_are_equal_weighted_is_attention_at(axes: tuple[int, ...]) -> None:
    _, gradient, mask = _row()
    gradient, real = gradient[None, :, None, None], mask[:, None, None]
    scores = torch.full_like(gradient, 0.1)
    expected = scale(gradient, 1.0, axes)
    for variant in ("weighted", "literal"):
        assert torch.equal(emphasise(gradient, scores, real, variant, 1.0, axes), expected)
    assert not emphasise(gradient, scores, real, "sign", 1.0, axes).any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_gets_none_even_where_it_has_a_gradient(variant: Variant) -> None:
    scores, gradient, real = _row(real=4)
    moved = emphasise(gradient + 1.0, scores, real, variant, 1.0, ROW)
    assert (moved[:, 4:] == 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_text_of_one_token_gets_none(variant: Variant) -> None:
    scores, gradient, real = _row(real=1)
    assert not emphasise(gradient, scores, real, variant, 1.0, ROW).any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_examples_noise_does_not_depend_on_the_others(variant: Variant) -> None:
    (scores, gradient, real), (others, steeper, _) = _row(seed=0), _row(seed=1)
    mixed, pulled = scores.clone(), gradient.clone()
    mixed[1:], pulled[1:] = others[1:], 1e6 * steeper[1:]
    for axes in (ROW, EXAMPLE):
        here = emphasise(
            gradient[None, :, None, None], scores[None, :, None, None], real[:, None, None], variant, 1.0, axes
        )
        there = emphasise(
            pulled[None, :, None, None], mixed[None, :, None, None], real[:, None, None], variant, 1.0, axes
        )
        assert torch.equal(here[:, 0], there[:, 0])


@pytest.mark.parametrize(
    ("head", "layers", "first_row", "by_row", "chosen"),
    [
        ("sequence-classification", None, True, True, (2,)),
        ("multiple-choice", (-1,), True, True, (2,)),
        ("sequence-classification", (2, 0), False, False, (0, 2)),
        ("sequence-classification", (1,), False, False, (1,)),
        ("token-classification", None, False, False, (2,)),
        ("question-answering", None, False, False, (2,)),
    ],
)
def test_the_head_and_the_layers_say_which_rows_are_moved(
    head: Head, layers: tuple[int, ...] | None, first_row: bool, by_row: bool, chosen: tuple[int, ...]
) -> None:
    site = choose_site(NoiseSettings(layers=layers), make_encoder(), head)
    assert site == Site(layers=chosen, heads=2, first_row=first_row, by_row=by_row)


def test_the_scope_can_be_set() -> None:
    assert choose_site(NoiseSettings(scope="row"), make_encoder(), "token-classification").by_row
    assert not choose_site(NoiseSettings(scope="example"), make_encoder(), "sequence-classification").by_row


@pytest.mark.parametrize("layers", [(3,), (-4,), (1, 1), (2, -1)])
def test_layers_that_are_not_there_or_named_twice_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(NoSuchLayer, match="name layers from 0 to 2, or from -1 back, each once"):
        choose_site(NoiseSettings(layers=layers), make_encoder(), "sequence-classification")


def test_an_example_of_many_rows_has_the_length_times_the_root_of_the_heads() -> None:
    site = Site(layers=(0, 2), heads=4, first_row=False, by_row=False)
    batch = make_batch()
    direction = torch.randn(site.zeros(batch).shape, generator=torch.Generator().manual_seed(0)) * site.real(batch)
    norms = torch.linalg.vector_norm(scale(direction, site.length(1.5), site.axes), dim=site.axes)
    torch.testing.assert_close(norms, torch.full((3,), 1.5 * 2))


def test_scores_are_the_encoders_but_for_a_constant_in_each_row() -> None:
    encoder, batch = make_encoder(), make_batch()
    site = Site(layers=(1,), heads=2, first_row=False, by_row=False)
    kept = encoder(batch, keep=[1])
    attention = encoder.layers[1].attention.self  # type: ignore[union-attr]
    query, key = (
        linear(kept.kept[1].entering).unflatten(-1, (2, 8)).transpose(1, 2)  # type: ignore[operator]
        for linear in (attention.query, attention.key)  # type: ignore[union-attr]
    )
    expected = query @ key.transpose(-1, -2) / math.sqrt(8)
    found = site.scores(kept)[0]
    difference = (found - expected)[0]  # the row without padding
    torch.testing.assert_close(difference, difference[..., :1].expand_as(difference), rtol=0, atol=1e-5)


def test_random_noise_depends_neither_on_padding_nor_on_the_batch() -> None:
    site = Site(layers=(1, 2), heads=2, first_row=False, by_row=False)
    wide = draw_noise(site, make_batch((7, 4, 1), padding=3), "5/1")
    narrow = draw_noise(site, make_batch((7, 4), padding=0), "5/1")
    assert torch.equal(wide[:, :2, :, :7, :7], narrow)
    assert (wide.masked_select(~site.real(make_batch((7, 4, 1), padding=3))) == 0).all()
    assert not torch.equal(draw_noise(site, make_batch((7, 4)), "5/2"), narrow)
    assert not torch.equal(narrow[:, 0, :, :4, :4], narrow[:, 1, :, :4, :4])


def test_entropy_is_1_where_attention_is_even_and_0_where_it_is_on_one_token() -> None:
    real = torch.tensor([True, True, True, False]).reshape(1, 1, 1, 4)
    even = torch.full((1, 1, 1, 1, 4), math.log(1 / 3))
    sharp = torch.tensor([0.0, -87.0, -87.0, -87.0]).reshape(1, 1, 1, 1, 4)
    assert mean_entropy(even, real) == pytest.approx(1.0)
    assert mean_entropy(sharp, real) == pytest.approx(0.0, abs=1e-6)
    assert mean_entropy(sharp[..., :1], real[..., :1]) == 0.0


@pytest.mark.parametrize(
    "settings", [{"epsilon": -1}, {"weight": -0.1}, {"layers": []}, {"scope": "batch"}, {"epsilom": 1}]
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        NoiseSettings.model_validate(settings)
