"""A text has the same scores to the last bit, in whatever request it comes."""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from benchmarks.texts import make_mixed_texts
from tests.service.conftest import ROOT, Server

TEXTS = make_mixed_texts(500, words=(1, 120), seed=11)
LARGEST = 64

Scores = list[dict[str, float]]


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server]) -> Server:
    """A server with the real model: rows of many callers meet in two workers of two threads."""
    return start_server(ROOT / "zoo" / "sentiment", workers=2, threads=2)


@pytest.fixture(scope="module")
def alone(server: Server) -> list[Scores]:
    return [found for text in TEXTS for found in _ask(server, [text])]


def _ask(server: Server, texts: Sequence[str]) -> list[Scores]:
    answered = server.client.post("/v1/sentiment", json={"inputs": list(texts)}).raise_for_status()
    return [result["scores"] for result in answered.json()["results"]]


def _requests(texts: Sequence[str], draw: random.Random) -> Iterator[list[str]]:
    """The texts in requests of any size."""
    left = iter(texts)
    while some := list(islice(left, draw.randint(1, LARGEST))):
        yield some


def test_scores_are_the_same_bits_in_full_requests(server: Server, alone: list[Scores]) -> None:
    requests = [TEXTS[start : start + LARGEST] for start in range(0, len(TEXTS), LARGEST)]
    assert [found for texts in requests for found in _ask(server, texts)] == alone


def test_scores_are_the_same_bits_in_another_order_and_company(server: Server, alone: list[Scores]) -> None:
    draw = random.Random(1)
    order = draw.sample(range(len(TEXTS)), len(TEXTS))
    found = [scores for texts in _requests([TEXTS[place] for place in order], draw) for scores in _ask(server, texts)]
    assert found == [alone[place] for place in order]


def test_scores_are_the_same_bits_under_load(server: Server, alone: list[Scores]) -> None:
    draw = random.Random(2)
    requests = list(_requests(TEXTS, draw))
    with ThreadPoolExecutor(16) as callers:
        found = list(callers.map(lambda texts: _ask(server, texts), requests))
    assert [scores for answers in found for scores in answers] == alone
