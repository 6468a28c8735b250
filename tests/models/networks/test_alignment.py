"""Answers in two versions of a text: places that move, and how far answers differ."""

import torch
from torch import Tensor, nn

from models.networks.alignment import ABSENT, disagreement, move_targets, pad_places
from models.networks.heads import IGNORED

CPU = torch.device("cpu")
NOWHERE = pad_places([[], []], 0, CPU)


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _oracle(first: Tensor, second: Tensor) -> Tensor:
    """Half of both Kullback-Leibler divergences of one row of logits, in float64, by torch's own function."""
    p, q = (nn.functional.log_softmax(logits.double(), -1) for logits in (first, second))
    both = (nn.functional.kl_div(one, other, reduction="sum", log_target=True) for one, other in ((p, q), (q, p)))
    return sum(both, torch.tensor(0.0)) / 2


def test_labels_are_the_mean_of_the_symmetric_divergence() -> None:
    first, second = _draw(2, 4), _draw(2, 4, seed=1)
    found = disagreement(first, second, "sequence-classification", (NOWHERE, NOWHERE))
    expected = (_oracle(first[0], second[0]) + _oracle(first[1], second[1])) / 2
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)


def test_numbers_differ_by_their_squared_difference() -> None:
    found = disagreement(
        torch.tensor([[1.0], [2.0]]), torch.tensor([[4.0], [2.0]]), "sequence-classification", (NOWHERE, NOWHERE)
    )
    assert float(found) == 4.5


def test_choices_that_an_example_lacks_do_not_count() -> None:
    first, second = _draw(2, 2), _draw(2, 2, seed=1)
    wider = [torch.cat([logits, torch.full((2, 1), -1e4)], dim=1) for logits in (first, second)]
    alone, beside = (
        disagreement(one, other, "multiple-choice", (NOWHERE, NOWHERE)) for one, other in ((first, second), wider)
    )
    torch.testing.assert_close(alone, beside)


def test_words_are_compared_where_each_row_has_them_and_not_where_one_lacks_them() -> None:
    first, second = _draw(2, 5, 3), _draw(2, 6, 3, seed=1)
    places = torch.tensor([[1, 2, 4], [1, ABSENT, 3]]), torch.tensor([[1, 3, ABSENT], [2, 4, 5]])
    pairs = [(first[0, 1], second[0, 1]), (first[0, 2], second[0, 3]), (first[1, 1], second[1, 2]),
             (first[1, 3], second[1, 5])]  # fmt: skip
    expected = torch.stack([_oracle(one, other) for one, other in pairs]).mean()
    found = disagreement(first, second, "token-classification", places)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)


def test_spans_are_compared_over_no_answer_and_the_tokens_that_both_rows_have() -> None:
    first, second = _draw(1, 6, 2), _draw(1, 5, 2, seed=1)
    places = torch.tensor([[1, 2, 3]]), torch.tensor([[1, 2, ABSENT]])
    expected = torch.stack([_oracle(first[0, :3, end], second[0, :3, end]) for end in (0, 1)]).mean()
    found = disagreement(first, second, "question-answering", places)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)


def test_rows_without_any_place_agree() -> None:
    empty = torch.full((2, 1), ABSENT)
    assert float(disagreement(_draw(2, 3, 3), _draw(2, 3, 3, seed=1), "token-classification", (empty, empty))) == 0


def test_labels_of_words_move_with_the_words() -> None:
    targets = torch.tensor([[IGNORED, 2, 0, IGNORED, 1], [IGNORED, 1, IGNORED, IGNORED, IGNORED]])
    places, moved = torch.tensor([[1, 2, 4], [1, ABSENT, ABSENT]]), torch.tensor([[1, 3, ABSENT], [2, 3, ABSENT]])
    found = move_targets(targets, "token-classification", places, moved, 6)
    assert found.tolist() == [[IGNORED, 2, IGNORED, 0, IGNORED, IGNORED], [IGNORED, IGNORED, 1, *[IGNORED] * 3]]


def test_a_span_moves_with_its_ends_and_is_no_answer_where_one_is_missing() -> None:
    places, moved = torch.tensor([[1, 2, 3]] * 3), torch.tensor([[2, 3, ABSENT]] * 3)
    found = move_targets(torch.tensor([[1, 2], [2, 3], [0, 0]]), "question-answering", places, moved, 9)
    assert found.tolist() == [[2, 3], [0, 0], [0, 0]]


def test_other_targets_stay() -> None:
    targets = torch.tensor([3, 1])
    assert move_targets(targets, "multiple-choice", NOWHERE, NOWHERE, 4) is targets
