"""Checkpoints from elsewhere: whatever the order and the names of their labels, the right label comes out."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, pipeline

from export.importing.stock import ImportSettings, write_stock
from export.origin import open_stock
from models.checkpoint import Licences
from models.networks.batches import torch_runner
from models.networks.encoder import Encoder, EncoderError
from models.networks.loading import load_tokenizer
from models.tasks import find_task
from models.tasks.labels.matching import LabelError
from tests.foreign import PAIRS, TEXTS, make_foreign
from tests.tiny import make_base


def settings(base: Path, task: str, **given: Any) -> ImportSettings:
    return ImportSettings(base=str(base), task=find_task(task), licences=Licences(), **given)


def answers(chosen: ImportSettings, folder: Path, items: Sequence[Mapping[str, str]]) -> list[dict[str, float]]:
    """The probability of each label, most probable first, by the checkpoint that an import writes."""
    origin = open_stock(folder, write_stock(chosen, folder))
    task, run = origin.task, torch_runner(Encoder(origin.load()), origin.task.head, load_tokenizer(folder))
    encoded = [task.encode(task.item.model_validate(item), origin.reader, "right") for item in items]
    decoded = [task.decode(run(one.rows), one, origin.record.outputs).answer for one in encoded]
    return [{score.label: score.score for score in answer.scores} for answer in decoded]


ENTAILMENT = {"ENTAILMENT": "entailment", "neutral": "neutral", "Contradiction": "contradiction"}


@pytest.mark.parametrize(
    ("task", "meaning"),
    [
        ("sentiment", {"POSITIVE": "positive", "NEGATIVE": "negative"}),
        ("sentiment", {"neg": "negative", "pos": "positive"}),
        ("sentiment", {"Neutral": "neutral", "Positive": "positive", "Negative": "negative"}),
        ("sentiment", {"positive": "positive", "negative": "negative", "neutral": "neutral"}),
        ("nli", {"Contradiction": "contradiction", "neutral": "neutral", "ENTAILMENT": "entailment"}),
        ("nli", {"Contradiction": "contradiction", "ENTAILMENT": "entailment", "neutral": "neutral"}),
        ("nli", {"neutral": "neutral", "entails": "entailment", "contradicts": "contradiction"}),
        ("nli", {"not_entailment": "not_entailment", "entailment": "entailment"}),
        ("paraphrase", {"equivalent": "paraphrase", "not_equivalent": "different"}),
        ("paraphrase", {"not_duplicate": "different", "duplicate": "paraphrase"}),
        ("pair-classification", {"b": "b", "Agrees": "Agrees", "A": "A"}),
        ("text-classification", {"sport": "sport", "Arts": "Arts", "money": "money"}),
    ],
)
def test_the_label_is_the_one_that_the_stock_pipeline_gives(tmp_path: Path, task: str, meaning: dict[str, str]) -> None:
    fields = list(find_task(task).columns)
    foreign = make_foreign(tmp_path / "foreign", "sequence-classification", list(meaning), reads_pairs=len(fields) == 2)
    stock = pipeline("text-classification", model=str(foreign), top_k=None)
    items = [dict(zip(fields, pair, strict=False)) for pair in PAIRS]
    found = answers(settings(foreign, task), tmp_path / "written", items)
    asked = [pair[0] if len(fields) == 1 else {"text": pair[0], "text_pair": pair[1]} for pair in PAIRS]
    for answer, expected in zip(found, (stock([one])[0] for one in asked), strict=True):
        assert [meaning[score["label"]] for score in expected] == list(answer)
        assert answer == pytest.approx({meaning[score["label"]]: score["score"] for score in expected}, abs=1e-5)
    # Else the test would pass for a model that always gives one label.
    assert {next(iter(answer)) for answer in found} == set(meaning.values())


def test_a_head_of_one_label_is_refused(tmp_path: Path) -> None:
    foreign = make_foreign(tmp_path / "foreign", "sequence-classification", ["positive"])
    with pytest.raises(LabelError, match=f"{foreign}: two labels or more are needed"):
        write_stock(settings(foreign, "sentiment"), tmp_path / "written")


def test_labels_without_names_take_those_that_are_given(tmp_path: Path) -> None:
    foreign = make_foreign(tmp_path / "foreign", "sequence-classification", None, 3)
    stock = pipeline("text-classification", model=str(foreign))
    names = ("positive", "negative", "neutral")
    found = answers(
        settings(foreign, "sentiment", labels=names), tmp_path / "written", [{"text": one} for one in TEXTS]
    )
    expected = [names[int(one["label"].removeprefix("LABEL_"))] for one in stock(TEXTS)]
    assert [next(iter(answer)) for answer in found] == expected
    assert len(set(expected)) == 3


def test_labels_without_names_are_refused(tmp_path: Path) -> None:
    foreign = make_foreign(tmp_path / "foreign", "sequence-classification", None, 2)
    with pytest.raises(LabelError, match=r"its labels have no names \('LABEL_0', 'LABEL_1'\); .* with --labels"):
        write_stock(settings(foreign, "sentiment"), tmp_path / "written")


def test_the_record_names_the_labels_as_the_checkpoint_does(tmp_path: Path) -> None:
    foreign = make_foreign(tmp_path / "foreign", "sequence-classification", ["POS", "NEG"])
    record = write_stock(settings(foreign, "sentiment"), tmp_path / "written")
    assert (record.base, record.head, record.outputs.labels) == ("foreign", ("POS", "NEG"), ("negative", "positive"))
    written = AutoModelForSequenceClassification.from_pretrained(tmp_path / "written")
    assert written.config.id2label == {0: "negative", 1: "positive"}


def test_a_row_is_as_long_as_the_model_reads_or_as_is_asked_for(tmp_path: Path) -> None:
    foreign = make_foreign(tmp_path / "foreign", "sequence-classification", ["POS", "NEG"])
    assert write_stock(settings(foreign, "sentiment"), tmp_path / "one").max_tokens == 64
    assert write_stock(settings(foreign, "sentiment", max_tokens=16), tmp_path / "two").max_tokens == 16
    with pytest.raises(EncoderError, match=f"--max-tokens 65: {foreign} reads at most 64 tokens"):
        write_stock(settings(foreign, "sentiment", max_tokens=65), tmp_path / "three")


def test_a_checkpoint_with_another_head_is_refused(tmp_path: Path) -> None:
    foreign = make_foreign(tmp_path / "foreign", "token-classification", ["POS", "NEG"])
    with pytest.raises(
        EncoderError,
        match="a BertForTokenClassification, and this task needs a trained head ForSequenceClassification; choose",
    ):
        write_stock(settings(foreign, "sentiment"), tmp_path / "written")


def test_an_encoder_without_a_head_is_refused_as_such(tmp_path: Path) -> None:
    base = make_base(tmp_path / "encoder")
    with pytest.raises(EncoderError, match="a BertForMaskedLM, and this task needs a trained head"):
        write_stock(settings(base, "sentiment"), tmp_path / "written")


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    foreign = make_foreign(tmp_path / "foreign", "sequence-classification", ["POS", "NEG"])
    weights = load_file(foreign / "model.safetensors")
    del weights["bert.pooler.dense.bias"]
    save_file(weights, foreign / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=r"1 weights are missing, bert.pooler.dense.bias among them; copy it whole"):
        write_stock(settings(foreign, "sentiment"), tmp_path / "written")


def test_a_score_that_passes_through_a_sigmoid_is_refused(tmp_path: Path) -> None:
    base = make_foreign(tmp_path / "cross", "sequence-classification", None, 1)
    config = json.loads((base / "config.json").read_text())
    config["sentence_transformers"] = {"activation_fn": "torch.nn.modules.activation.Sigmoid"}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderError, match="its score passes through Sigmoid"):
        write_stock(settings(base, "sts", score_range=(0.0, 1.0)), tmp_path / "out")


def test_labels_that_do_not_exclude_each_other_are_refused(tmp_path: Path) -> None:
    labels = ["POS", "NEG"]
    base = make_foreign(tmp_path / "many", "sequence-classification", labels, problem_type="multi_label_classification")
    with pytest.raises(EncoderError, match=r"many: its labels do not exclude each other .*, and sentiment gives one"):
        write_stock(settings(base, "sentiment"), tmp_path / "out")
    single = make_foreign(
        tmp_path / "one", "sequence-classification", labels, problem_type="single_label_classification"
    )
    assert write_stock(settings(single, "sentiment"), tmp_path / "out").outputs.labels == ("negative", "positive")


def test_labels_that_do_not_exclude_each_other_have_the_probabilities_of_the_stock_pipeline(tmp_path: Path) -> None:
    names, problem = ["toxic", "Insult", "a threat"], "multi_label_classification"
    foreign = make_foreign(tmp_path / "foreign", "multi-label-classification", names, problem_type=problem)
    chosen = settings(foreign, "multi-label-classification", label_threshold=0.4)
    found = answers(chosen, tmp_path / "written", [{"text": text} for text in TEXTS])
    for folder in (foreign, tmp_path / "written"):
        stock = pipeline("text-classification", model=str(folder), top_k=None)(TEXTS)
        for answer, expected in zip(found, stock, strict=True):
            assert answer == pytest.approx({one["label"]: one["score"] for one in expected}, abs=1e-5)
    # Else a softmax would pass as well.
    assert any(sum(answer.values()) > 1.2 for answer in found)
    record = write_stock(chosen, tmp_path / "again")
    assert (record.outputs.labels, record.outputs.label_threshold) == (tuple(names), 0.4)


def test_labels_that_exclude_each_other_are_refused_where_any_number_is_given(tmp_path: Path) -> None:
    problem = "single_label_classification"
    foreign = make_foreign(tmp_path / "one", "sequence-classification", ["a", "b"], problem_type=problem)
    with pytest.raises(
        EncoderError, match=r"one: its labels exclude each other .* choose the task that it was trained"
    ):
        write_stock(settings(foreign, "multi-label-classification"), tmp_path / "out")


@pytest.mark.parametrize(
    ("task", "problem", "told"),
    [
        (
            "text-classification",
            None,
            "and is read as giving one label of a text; --task multi-label-classification reads it as giving any "
            "number of labels of a text",
        ),
        (
            "multi-label-classification",
            None,
            "and is read as giving any number of labels of a text; --task text-classification reads it as giving one "
            "label of a text",
        ),
        ("text-classification", "single_label_classification", None),
        ("multi-label-classification", "multi_label_classification", None),
        ("pair-classification", None, None),
        ("sentiment", None, None),
    ],
)
def test_it_is_told_as_what_labels_are_read_where_the_checkpoint_does_not_say(
    task: str, problem: str | None, told: str | None, tmp_path: Path
) -> None:
    foreign = make_foreign(tmp_path / "one", "sequence-classification", ["positive", "negative"], problem_type=problem)
    said: list[str] = []
    write_stock(settings(foreign, task), tmp_path / "out", said.append)
    assert said == ([f"{foreign} names no problem_type, {told}"] if told else [])


@pytest.mark.parametrize(
    ("task", "labels", "problem", "message"),
    [
        (
            "sentiment",
            ["POS", "NEG"],
            "regression",
            r"its head gives 2 numbers that are no labels \(regression\)",
        ),
        ("sts", ["score"], "multi_label_classification", "its score passes through Sigmoid, and a package gives"),
    ],
)
def test_numbers_that_mean_something_else_than_the_tasks_are_refused(
    task: str, labels: Sequence[str], problem: str, message: str, tmp_path: Path
) -> None:
    base = make_foreign(tmp_path / "one", "sequence-classification", labels, problem_type=problem)
    score_range = (0.0, 1.0) if task == "sts" else None
    with pytest.raises(EncoderError, match=f"one: {message}"):
        write_stock(settings(base, task, score_range=score_range), tmp_path / "out")


def test_a_single_number_that_is_a_regression_is_a_score(tmp_path: Path) -> None:
    base = make_foreign(tmp_path / "one", "sequence-classification", ["score"], problem_type="regression")
    assert write_stock(settings(base, "sts", score_range=(0.0, 1.0)), tmp_path / "out").outputs.score_range == (0, 1)


def test_a_head_of_another_size_is_refused(tmp_path: Path) -> None:
    base = make_foreign(tmp_path / "two", "sequence-classification", None, 2)
    with pytest.raises(LabelError, match="its head gives 2 numbers, and the task has 1"):
        write_stock(settings(base, "sts", score_range=(0.0, 5.0)), tmp_path / "out")
