"""Measures how faithful the explanations of a package are, by every method that it offers, and what they cost.

Each part of an answer is tested on its own; the parts of one item count as one row, their mean.
"""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from export.package import Faithfulness, Package
from models.errors import UserError
from models.measuring.faithfulness import Drops, FaithfulnessReport, average_drops, report_faithfulness
from models.measuring.removal import RemovableWords, Removal
from models.progress import ReportProgress
from models.tasks.task import Claim, Item
from models.text import Reader
from models.words import Span
from service.answers.explanation import Explanation, ExplanationMethod
from service.answers.highlights import is_signed
from service.answers.predictor import Predictor
from service.measuring.claims import RankedClaim, Subject, measure_claims, read_item, read_subjects, removable
from service.measuring.explained import RANDOM, RANDOM_DRAWS, cpu_time, explain_items, shuffle

ITEMS_AT_ONCE = 16
COSTED_ITEMS = 32
COSTED_TOKENS = 2_000
"""Most items and tokens in the request whose cost is measured; it has one item at least."""
COST_ROUNDS = 5
COST_S = 10.0
"""Seconds of CPU time after which no further round begins."""

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
"""The file of a package that names the mask token."""


class NothingToMeasure(UserError):
    """There is no explanation to test."""


@dataclass(frozen=True, kw_only=True)
class MeasuredMethod:
    """The faithfulness of one method, and its cost."""

    deletion: FaithfulnessReport
    """Words are taken out by deleting their tokens."""
    mask: FaithfulnessReport | None
    """The mask token takes the place of theirs; None where this was not measured or the tokenizer has none."""
    cost: float | None
    """CPU time of an answer with the explanation, as a multiple of one without; None for words in random order."""


@dataclass(frozen=True, kw_only=True)
class MeasuredExplanations:
    """The faithfulness of every method of a package."""

    rows: int
    """Items that were read."""
    methods: dict[str, MeasuredMethod]
    """By method; words in random order come last. A method that could explain no item is missing."""

    def for_manifest(self) -> dict[str, Faithfulness]:
        """The figures that a package states of itself, by explanation method."""
        by_chance = self.methods[RANDOM].deletion
        return {
            name: Faithfulness(
                rows=one.deletion.rows,
                comprehensiveness=one.deletion.comprehensiveness.mean,
                comprehensiveness_interval=one.deletion.comprehensiveness.interval,
                sufficiency=one.deletion.sufficiency.mean,
                sufficiency_interval=one.deletion.sufficiency.interval,
                random_comprehensiveness=by_chance.comprehensiveness.mean,
                random_sufficiency=by_chance.sufficiency.mean,
                cost=one.cost,
            )
            for name, one in self.methods.items()
            if one.cost is not None
        }


def measure_explanations(
    predictor: Predictor,
    items: Sequence[Item],
    progress: ReportProgress,
    *,
    others: Sequence[str] = (RANDOM,),
    masks: bool = True,
    most_tokens: int | None = None,
) -> MeasuredExplanations:
    """Measure every method that the package offers, and words in random order, on the answers to `items`.

    Every method is compared with each of `others`. With `masks`, words are also replaced by the mask token. Where the
    items have more than `most_tokens`, only the first of them are measured: each of their tokens is computed some
    hundred times.

    Raises:
        NothingToMeasure: no answer to any item could be explained.
    """
    reader = predictor.package.reader()
    mask_id = find_mask_id(predictor.package, reader) if masks else None
    by_removal: dict[Removal, list[dict[str, Drops]]] = {"deletion": [], **({} if mask_id is None else {"mask": []})}
    explainable: dict[ExplanationMethod, list[Item]] = {method: [] for method in predictor.explanations}
    read = 0
    if most_tokens is not None:
        items = _first_items(predictor, reader, items, most_tokens)
    progress("explanations", 0, len(items))
    for start in range(0, len(items), ITEMS_AT_ONCE):
        subjects = read_subjects(predictor, reader, items[start : start + ITEMS_AT_ONCE])
        read += sum(subject.encoded is not None for subject in subjects)
        ranked = _rank(predictor, [subject for subject in subjects if subject.claims], explainable)
        for removal, rows in by_removal.items():
            rows += _measure_rows(predictor, ranked, mask_id if removal == "mask" else None)
        progress("explanations", min(start + ITEMS_AT_ONCE, len(items)), len(items))
    return _sum_up(predictor, by_removal, explainable, others, read)


def find_mask_id(package: Package, reader: Reader) -> int | None:
    """The id of the mask token, as the package's tokenizer names it; None where it has none."""
    if TOKENIZER_CONFIG_FILE not in package.manifest.files:
        return None
    named = json.loads((package.folder / TOKENIZER_CONFIG_FILE).read_bytes()).get("mask_token")
    token = named.get("content") if isinstance(named, dict) else named
    return reader.token_id(token) if isinstance(token, str) else None


def measure_cost(predictor: Predictor, items: Sequence[Item], method: ExplanationMethod) -> float:
    """CPU time of a request whose answers are explained, as a multiple of one without explanations.

    Requests of both kinds take turns, and the median ratio counts. It is CPU time of the whole process, in which
    nothing else should compute.
    """
    cpu_time(predictor, items[:1], method)
    ratios: list[float] = []
    spent = 0.0
    while len(ratios) < COST_ROUNDS and spent < COST_S:
        explained, plain = (cpu_time(predictor, items, one) for one in (method, None))
        ratios.append(explained / plain)
        spent += explained
    return statistics.median(ratios)


def _first_items(predictor: Predictor, reader: Reader, items: Sequence[Item], most_tokens: int) -> Sequence[Item]:
    """The first items that together have no more than so many tokens, but one at least."""
    tokens = 0
    for number, item in enumerate(items):
        encoded = read_item(predictor, reader, item)
        tokens += 0 if encoded is None else encoded.tokens
        if number and tokens > most_tokens:
            return items[:number]
    return items


def _rank(
    predictor: Predictor, subjects: Sequence[Subject], explainable: Mapping[ExplanationMethod, list[Item]]
) -> list[list[RankedClaim]]:
    """For each item its claims, with the words that each method finds important; `explainable` gets the items."""
    items = [subject.item for subject in subjects]
    explained = {method: explain_items(predictor, items, method) for method in explainable}
    ranked = []
    for number, subject in enumerate(subjects):
        given = {method: of_items[number] for method, of_items in explained.items()}
        by_method = {method: parts for method, parts in given.items() if parts is not None}
        for method in by_method:
            explainable[method].append(subject.item)
        ranked.append(list(_rank_claims(subject, by_method)) if by_method else [])
    return ranked


def _rank_claims(
    subject: Subject, explained: Mapping[ExplanationMethod, Sequence[Explanation]]
) -> Iterator[RankedClaim]:
    """The claims of one item of which words can be taken out."""
    assert subject.encoded is not None
    for number, claim in enumerate(subject.claims):
        explanations = {method: parts[number] for method, parts in explained.items()}
        listed = next(iter(explanations.values())).items
        words = [(word.field, Span(word.start, word.end)) for word in listed]
        numbers = removable(claim, words)
        if not numbers:
            continue
        orders: dict[str, list[Sequence[float]]] = {
            method: [_toward(claim, explanation, numbers)] for method, explanation in explanations.items()
        }
        key = "\n".join(word.text for word in listed)
        by_chance = [shuffle(f"{key}/{number}/{draw}", len(numbers)) for draw in range(RANDOM_DRAWS)]
        chosen = RemovableWords(subject.encoded, [words[one] for one in numbers])
        yield RankedClaim(claim, chosen, {**orders, RANDOM: by_chance})


def _toward(claim: Claim, explanation: Explanation, numbers: Sequence[int]) -> Sequence[float]:
    """Scores that are high for words that speak for the claim, or, without signs, for words that matter to it."""
    sign = -1 if claim.is_negative and is_signed(explanation) else 1
    return [sign * explanation.items[one].score for one in numbers]


def _measure_rows(
    predictor: Predictor, ranked: Sequence[Sequence[RankedClaim]], mask_id: int | None
) -> Iterator[dict[str, Drops]]:
    """For each item the drops by method, as means over its claims; nothing where no claim can be tested."""
    measured = iter(measure_claims(predictor, [claim for claims in ranked for claim in claims], mask_id))
    for claims in ranked:
        drops = [next(measured) for _ in claims]
        methods = drops[0] if drops else ()
        yield {method: average_drops([one[method] for one in drops]) for method in methods}


def _sum_up(
    predictor: Predictor,
    by_removal: Mapping[Removal, Sequence[Mapping[str, Drops]]],
    explainable: Mapping[ExplanationMethod, Sequence[Item]],
    others: Sequence[str],
    read: int,
) -> MeasuredExplanations:
    reader = predictor.package.reader()
    costs: dict[str, float | None] = {
        method: measure_cost(predictor, _first_items(predictor, reader, items[:COSTED_ITEMS], COSTED_TOKENS), method)
        for method, items in explainable.items()
        if items
    }
    methods: dict[str, MeasuredMethod] = {}
    for name, cost in {**costs, RANDOM: None}.items():
        reports = {removal: _report(rows, name, others) for removal, rows in by_removal.items()}
        deletion = reports["deletion"]
        if deletion is not None:
            methods[name] = MeasuredMethod(deletion=deletion, mask=reports.get("mask"), cost=cost)
    if not methods:
        raise NothingToMeasure("no answer to any record could be explained and tested; measure longer texts")
    return MeasuredExplanations(rows=read, methods=methods)


def _report(rows: Sequence[Mapping[str, Drops]], name: str, others: Sequence[str]) -> FaithfulnessReport | None:
    found = [row.get(name) for row in rows]
    return report_faithfulness(found, {other: [row.get(other) for row in rows] for other in others if other != name})
