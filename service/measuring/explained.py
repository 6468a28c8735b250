"""Explains many items with one package, by every method that it offers."""

import random
import time
from collections.abc import Sequence

from models.tasks.task import Item
from service.answers.answers import Answers
from service.answers.contract import Options
from service.answers.explanation import ExplainOptions, Explanation, ExplanationMethod
from service.answers.predictor import Predictor

RANDOM = "random"
"""The name under which words in random order stand beside the methods."""

RANDOM_DRAWS = 2


def explain_items(
    predictor: Predictor, items: Sequence[Item], method: ExplanationMethod
) -> list[tuple[Explanation, ...] | None]:
    """For each item the explanations of the parts of its answer; None where it has too much to explain."""
    options = Options(explain=ExplainOptions(method=method))
    pending = [predictor.submit([item], options) for item in items]
    return [_explanations(one.result()) for one in pending]


def cpu_time(predictor: Predictor, items: Sequence[Item], method: ExplanationMethod | None) -> float:
    """Seconds of CPU time, in all threads of this process, to answer these items in one request."""
    options = Options(explain=ExplainOptions(method=method) if method else None)
    began = time.process_time()
    predictor.answer(items, options)
    return time.process_time() - began


def shuffle(key: str, count: int) -> list[float]:
    """Different scores for so many words, in an order that depends on nothing but `key` and `count`."""
    return [float(place) for place in random.Random(key).sample(range(count), count)]


def _explanations(answers: Answers) -> tuple[Explanation, ...] | None:
    explanation = answers.results[0].explanation
    return explanation if explanation is None or isinstance(explanation, tuple) else (explanation,)
