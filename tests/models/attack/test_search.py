"""The searches, against trying everything, on a model of which every word's part is known."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.attack.lockstep import run_searches
from models.attack.outcomes import Outcome
from models.attack.search import Alike, Answer, Attack, attack_item
from models.attack.settings import AttackSettings, budget
from models.attack.subjects import Subject, plain_reader
from models.data import AnsweredRecord
from models.edits import find_family
from models.files.rows import Record
from models.tasks import TASKS
from models.tasks.classification import LabelAnswer
from models.tasks.sentiment import SENTIMENT
from models.tasks.task import Item, LabelScore, Outputs

LABELS = ("negative", "positive")
WEIGHTS = {"good": 2.0, "great": 1.0, "grat": -3.0, "gret": -1.0, "god": -2.0, "dull": -2.0, "dulll": 1.5, "duly": 3.0}
"""The model's; a word that it does not know counts nothing."""

TEXTS = st.lists(st.sampled_from(["good", "great", "dull", "film", "it"]), min_size=1, max_size=6).map(" ".join)


def answer(item: Item) -> LabelAnswer:
    text = item.text  # type: ignore[attr-defined]
    total = 0.01 + sum(WEIGHTS.get(word, 0.0) for word in text.split())
    positive = 1 / (1 + 2.0**-total)
    scores = [LabelScore(label="negative", score=1 - positive), LabelScore(label="positive", score=positive)]
    best = max(scores, key=lambda one: one.score)
    return LabelAnswer(label=best.label, score=best.score, scores=tuple(scores))


class Asked:
    """Answers at once and counts what it is asked about."""

    def __init__(self) -> None:
        self.items = 0
        self.submissions = 0

    def submit(self, items: Sequence[Item]) -> Callable[[], Sequence[Answer]]:
        self.items += len(items)
        self.submissions += 1
        answers = [answer(item) if item.text.strip() else None for item in items]  # type: ignore[attr-defined]
        return lambda: answers


def subject(text: str, label: int = 1, number: int = 1) -> Subject:
    item = SENTIMENT.item(text=text)
    encoded = SENTIMENT.encode(item, plain_reader(), "window")
    source = AnsweredRecord(Record(number, {"text": text, "label": label}), {"text": "text"}, item, encoded, label)
    return Subject(source, item, {"text": text}, SENTIMENT.goal(label, encoded, Outputs(LABELS)))  # type: ignore[arg-type]


def run(texts: Sequence[str], alike: Alike | None = None, **bounds: Any) -> tuple[list[Outcome], Asked]:
    attack = Attack(AttackSettings(family="typos", **{"words": "1", **bounds}), find_family("typos"), SENTIMENT, alike)
    asked = Asked()
    subjects = (subject(text, number=number) for number, text in enumerate(texts, start=1))
    return list(run_searches((attack_item(one, attack) for one in subjects), asked.submit)), asked


def changed(text: str, outcome: Outcome) -> str:
    return subject(text).changed(outcome.made).text  # type: ignore[attr-defined, no-any-return]


def can_be_fooled(text: str, words: int) -> bool:
    """Whether some text with so many changed words is answered otherwise, by trying every one."""
    family = find_family("typos")
    spans = family.spans(text)
    for places in itertools.combinations(spans, min(words, len(spans))):
        ways = [(text[slice(*span)], *family.candidates(text, span)) for span in places]
        for chosen in itertools.product(*ways):
            new = dict(zip(places, chosen, strict=True))
            total = 0.01 + sum(WEIGHTS.get(word, 0.0) for word in text.split() if len(word) < 4)
            total += sum(WEIGHTS.get(new.get(span, text[slice(*span)]), 0.0) for span in spans)
            if total < 0:
                return True
    return False


def test_the_other_texts_of_an_item_are_all_but_the_field_and_the_id() -> None:
    item = TASKS["reading-comprehension"].item.model_validate(
        {"id": "Berlin", "context": "Anna sleeps.", "question": "Who sleeps?", "choices": ["Anna", "Omar"]}
    )
    given = subject("good")
    texts = {"context": "Anna sleeps.", "question": "Who sleeps?"}
    others = Subject(given.source, item, texts, given.goal).others
    assert others == {"context": "Who sleeps?\nAnna\nOmar", "question": "Anna sleeps.\nAnna\nOmar"}


@given(text=TEXTS)
def test_an_exhaustive_search_finds_an_edit_where_there_is_one(text: str) -> None:
    ((outcome,), asked) = run([text], search="exhaustive", queries=10_000)
    if answer(subject(text).item).label == "negative":
        assert (outcome.status, outcome.queries) == ("wrong", 1)
    else:
        assert (outcome.status == "fooled") == can_be_fooled(text, 1)
    assert outcome.queries == asked.items


@given(text=TEXTS, search=st.sampled_from(["greedy", "beam"]), words=st.integers(1, 3), queries=st.integers(2, 300))
@settings(deadline=None)
def test_what_is_found_keeps_the_bounds_and_fools(text: str, search: str, words: int, queries: int) -> None:
    ((outcome,), asked) = run([text], search=search, words=str(words), queries=queries)
    assert outcome.queries == asked.items <= queries
    if outcome.status == "fooled":
        assert 1 <= len(outcome.edits) <= words
        assert outcome.after == answer(SENTIMENT.item(text=changed(text, outcome))).model_dump(mode="json")
        assert outcome.after["label"] == "negative"
        assert can_be_fooled(text, words)
    elif outcome.status == "held":
        assert outcome.edits == ()
        assert outcome.exhausted or not (words == 1 and can_be_fooled(text, 1) and len(text.split()) == 1)


def test_greedy_takes_the_words_in_the_order_of_their_part() -> None:
    # Without "good" least is left of the right answer, and its worst edit turns the answer.
    ((outcome,), _) = run(["great good film"])
    assert [(edit.text, edit.to) for edit in outcome.edits] == [("good", "god")]


def test_the_worst_edit_of_a_word_is_taken() -> None:
    ((outcome,), _) = run(["great film"])
    assert [(edit.text, edit.to, edit.start, edit.end) for edit in outcome.edits] == [("great", "grat", 0, 5)]


def test_a_budget_of_words_is_spent_word_by_word() -> None:
    text = "good good good film"
    assert [run([text], words=words)[0][0].status for words in ("1", "2", "3")] == ["held", "fooled", "fooled"]


def test_a_beam_of_one_is_greedy() -> None:
    texts = ["great good film", "good good great", "dull good good good"]
    assert run(texts, search="beam", beam=1, words="2")[0] == run(texts, search="greedy", words="2")[0]


def test_outcomes_do_not_depend_on_the_company_of_a_search() -> None:
    texts = [" ".join(words) for words in itertools.product(["good", "great", "dull", "film"], repeat=3)] * 2
    together, asked = run(texts, words="2", candidates=8)
    alone = [run([text], words="2", candidates=8)[0][0] for text in texts]
    assert [one.model_copy(update={"record": 1}) for one in together] == alone
    assert [one.record for one in together] == list(range(1, len(texts) + 1))
    assert asked.submissions < len(texts)


def test_queries_that_run_out_are_said() -> None:
    ((outcome,), asked) = run(["good good good great film"], words="1", queries=20)
    assert (outcome.status, outcome.exhausted, outcome.queries, asked.items) == ("held", True, 20, 20)


def test_only_texts_that_are_similar_enough_are_asked_about() -> None:
    def alike(pairs: Sequence[tuple[str, str]]) -> list[float]:
        return [0.4 if "god" in changed.split() else 0.9 for _, changed in pairs]

    assert run(["good film"], alike, min_similarity=0.3)[0][0].similarity == 0.4
    assert run(["good film"], alike, min_similarity=0.5)[0][0].status == "held"


def test_the_budget_of_a_share_counts_all_words() -> None:
    assert budget("50%", "it was a good film") == 2


def test_a_text_without_words_to_change_holds() -> None:
    ((outcome,), _) = run(["it is"])
    assert (outcome.status, outcome.queries, outcome.exhausted) == ("held", 1, False)


@pytest.mark.parametrize("texts", [[], ["good"]])
def test_few_searches_end(texts: list[str]) -> None:
    assert len(run(texts)[0]) == len(texts)
