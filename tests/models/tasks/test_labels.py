"""Labels of heads from elsewhere, matched by name."""

import pytest

from models.tasks import find_task
from models.tasks.labels.matching import LabelError, MatchedHead, match_labels


@pytest.mark.parametrize(
    ("task", "found", "labels", "rows"),
    [
        ("sentiment", ["POS", "Neg"], ("negative", "positive"), (1, 0)),
        ("sentiment", ["Neutral", "POSITIVE", "NEGATIVE"], ("negative", "neutral", "positive"), (2, 0, 1)),
        ("sentiment", ["negative", "positive", "neutral"], ("negative", "neutral", "positive"), (0, 2, 1)),
        ("nli", ["contradiction", "entailment", "neutral"], ("entailment", "neutral", "contradiction"), (1, 2, 0)),
        ("nli", ["ENTAILMENT", "CONTRADICTION", "NEUTRAL"], ("entailment", "neutral", "contradiction"), (0, 2, 1)),
        ("nli", ["Neutral", "Entails", "Contradicts"], ("entailment", "neutral", "contradiction"), (1, 0, 2)),
        ("nli", ["NOT ENTAILMENT", "Entails"], ("entailment", "not_entailment"), (1, 0)),
        ("paraphrase", ["equivalent", "not_equivalent"], ("different", "paraphrase"), (1, 0)),
        ("paraphrase", ["is_duplicate", "not_duplicate"], ("different", "paraphrase"), (1, 0)),
        ("paraphrase", ["not-duplicate", "Duplicate"], ("different", "paraphrase"), (0, 1)),
    ],
)
def test_labels_are_known_by_name_and_come_in_the_order_of_the_task(
    task: str, found: list[str], labels: tuple[str, ...], rows: tuple[int, ...]
) -> None:
    assert match_labels(find_task(task), found) == MatchedHead(labels, rows)


def test_names_that_are_given_stand_for_those_of_the_head() -> None:
    matched = match_labels(find_task("sentiment"), ["LABEL_0", "LABEL_1"], ["positive", "negative"])
    assert matched == MatchedHead(("negative", "positive"), (1, 0))


def test_a_task_without_labels_takes_those_of_the_head_in_its_order() -> None:
    task = find_task("text-classification")
    assert match_labels(task, ["sport", "Arts & Music", "b"]) == MatchedHead(("sport", "Arts & Music", "b"), (0, 1, 2))
    given = match_labels(task, ["LABEL_0", "LABEL_1"], ["spam", "ham"])
    assert given == MatchedHead(("spam", "ham"), (0, 1))
    with pytest.raises(LabelError, match=r"with --labels, such as --labels NAME,NAME$"):
        match_labels(task, ["LABEL_0", "LABEL_1"])


def test_names_that_the_task_does_not_know_can_be_given_and_keep_the_order_of_the_head() -> None:
    matched = match_labels(find_task("sentiment"), ["a", "b", "c"], ["praise", "blame", "neutral"])
    assert matched == MatchedHead(("praise", "blame", "neutral"), (0, 1, 2))


@pytest.mark.parametrize(
    ("found", "given", "sentence"),
    [
        (
            ["LABEL_0", "LABEL_1"],
            None,
            "m: its labels have no names ('LABEL_0', 'LABEL_1'); name them in this order with --labels, such as "
            "--labels negative,positive",
        ),
        (
            ["joy", "positive"],
            None,
            "m: its labels 'joy' are none that sentiment knows (negative, neutral, positive); name all of its labels "
            "in their order with --labels, or choose another --task",
        ),
        (
            ["NEG", "negative"],
            None,
            "m: the labels 'NEG', 'negative' both mean 'negative'; give each a name of its own with --labels",
        ),
        (
            ["NEG", "POS"],
            ["negative"],
            "--labels: 1 names, and the head of m gives 2 numbers; name each of them, in the order of 'NEG', 'POS'",
        ),
    ],
)
def test_labels_that_say_nothing_certain_are_refused(found: list[str], given: list[str] | None, sentence: str) -> None:
    with pytest.raises(LabelError) as raised:
        match_labels(find_task("sentiment"), found, given, base="m")
    assert str(raised.value) == sentence


def test_a_head_of_scores_has_no_labels_to_name() -> None:
    assert match_labels(find_task("sts"), ["LABEL_0"]) == MatchedHead(("similarity",), (0,))
    with pytest.raises(LabelError, match="--labels: sts has no labels to name; leave it out"):
        match_labels(find_task("sts"), ["LABEL_0"], ["alike"])


@pytest.mark.parametrize(
    ("count", "example"), [(2, "negative,positive"), (3, "negative,neutral,positive"), (4, "NAME,NAME,NAME,NAME")]
)
def test_the_names_that_an_error_proposes_are_those_of_a_task_with_so_many_labels(count: int, example: str) -> None:
    with pytest.raises(LabelError, match=f"such as --labels {example}$"):
        match_labels(find_task("sentiment"), [f"LABEL_{number}" for number in range(count)])
