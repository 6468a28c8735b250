"""Robustness sets, noisy validation parts and suites, measured on a model that counts words of praise."""

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.data import draw_rows, load_part
from models.evaluation import EvaluatedModel
from models.measuring.perturbations import make_typos
from models.measuring.robustness import make_noisy, measure_robustness
from models.tasks import TASKS
from models.tasks.robustness import NoiseName
from models.tasks.task import Logits
from models.text import Reader, ReadingLimits, Row
from tests.tiny import WORDNET, make_tokenizer, outputs_of, write_examples

TOKENIZER = make_tokenizer()
READER = Reader(TOKENIZER.backend_tokenizer, ReadingLimits(max_tokens=64))
PRAISE = frozenset(TOKENIZER.convert_tokens_to_ids(["good", "great", "lovely", "fine"]))


@pytest.fixture(autouse=True)
def _wordnet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(WORDNET))


def _evaluated(task: str) -> EvaluatedModel:
    """Praise speaks for the last label, and for the first where there are three."""

    def run(rows: Sequence[Row]) -> list[Logits]:
        counts = [sum(token in PRAISE for token in row.ids) for row in rows]
        shape = {"sentiment": (-1, 1), "paraphrase": (-1, 1), "nli": (1, -1, -2), "sts": (1,)}[task]
        return [np.array(shape, dtype=np.float32) * (2 * count - 1) for count in counts]

    return EvaluatedModel(task=TASKS[task], outputs=outputs_of(TASKS[task]), reader=READER, run=run)


def _write(folder: Path, name: str, rows: Iterable[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _ignore(*_: object) -> None:
    """Progress is not looked at here."""


def _measure(folder: Path, task: str, most_rows: int | None = None) -> dict[str, dict[str, float]]:
    return measure_robustness(_evaluated(task), str(folder), ["validation"], _ignore, most_rows).found


def test_a_group_is_right_when_all_its_versions_are(tmp_path: Path) -> None:
    write_examples(tmp_path, "sentiment")
    texts = [("good", 1, 0), ("dull", 0, 0), ("good", 1, 1), ("fine", 0, 1), ("dull", 1, 2), ("fine", 0, 2)]
    rows = [{"text": text, "label": label, "pair_id": pair} for text, label, pair in texts]
    _write(tmp_path, "imdb_contrast_validation", rows)
    found = _measure(tmp_path, "sentiment")["IMDB contrast"]
    assert found["accuracy"] == 3 / 6
    assert found["consistency"] == 1 / 3
    assert found["rows"] == 6


def test_only_the_rows_of_a_set_that_are_new_to_the_model_count(tmp_path: Path) -> None:
    write_examples(tmp_path, "sentiment")
    rows = [{"text": "good", "label": seen, "in_sst2_train": bool(seen)} for seen in (0, 1, 1)]
    _write(tmp_path, "rotten_tomatoes_validation", rows)
    found = _measure(tmp_path, "sentiment")["Rotten Tomatoes"]
    assert (found["accuracy"], found["rows"]) == (0.0, 1)


def test_of_three_labels_two_mean_that_nothing_follows(tmp_path: Path) -> None:
    """The model says entailment to praise, and contradiction to anything else."""
    write_examples(tmp_path, "nli")
    pairs = [("good", "entailment"), ("dull", "non-entailment"), ("good", "non-entailment"), ("dull", "entailment")]
    _write(tmp_path, "hans_evaluation", [{"text_a": "it", "text_b": text, "label": label} for text, label in pairs])
    found = _measure(tmp_path, "nli")["HANS"]
    assert found == {"accuracy": 0.5, "f1": 0.5, "rows": 4}


def test_a_set_with_labels_that_the_model_has_not_is_left_out(tmp_path: Path) -> None:
    write_examples(tmp_path, "paraphrase")
    _write(tmp_path, "paws_wiki_validation", [{"text_a": "a", "text_b": "b", "label": "maybe"}])
    report = measure_robustness(_evaluated("paraphrase"), str(tmp_path), ["validation"], _ignore)
    assert "label 'maybe' is none of" in report.left_out["PAWS"]


def test_what_is_not_in_the_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_examples(tmp_path, "sentiment")
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))
    report = measure_robustness(_evaluated("sentiment"), str(tmp_path), ["validation"], _ignore)
    assert list(report.found) == ["validation", "validation, typos", "validation, word swaps"]
    assert list(report.left_out) == [
        "validation, synonyms", "IMDB contrast", "IMDB counterfactual", "Rotten Tomatoes", "CheckList",
    ]  # fmt: skip
    assert "no WordNet here" in report.left_out["validation, synonyms"]
    assert report.left_out["IMDB contrast"] == f"{tmp_path} has no imdb_contrast_validation"


def test_a_suite_beside_the_folder_is_measured(tmp_path: Path) -> None:
    write_examples(tmp_path / "sentiment", "sentiment")
    cases: list[dict[str, Any]] = [
        {"test": "words", "type": "MFT", "inputs": ["good"], "expected": 2},
        {"test": "words", "type": "MFT", "inputs": ["dull"], "expected": 2},
        {"test": "names", "type": "INV", "inputs": ["good", "dull", "poor"], "expected": None},
    ]
    _write(tmp_path / "checklist", "sentiment_suite", cases)
    found = _measure(tmp_path / "sentiment", "sentiment")
    assert found["CheckList MFT"] == {"failure_rate": 0.5, "rows": 2, "failure_rate/words": 0.5}
    assert found["CheckList INV"]["failure_rate"] == 1.0


def test_noise_costs_a_model_that_reads_letters_and_none_that_reads_words(tmp_path: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in [("film lovely film", 1), ("it is", 0)] * 8]
    _write(tmp_path, "validation", rows)
    found = _measure(tmp_path, "sentiment")
    assert found["validation"]["accuracy"] == 1.0
    assert found["validation, word swaps"]["accuracy"] == 1.0
    assert found["validation, typos"]["accuracy"] in (0.5, 1.0)  # one word in three, the same one each time


@pytest.mark.parametrize("task", TASKS)
def test_every_task_says_what_is_measured_and_reads_its_own_noise(tmp_path: Path, task: str) -> None:
    write_examples(tmp_path, task)
    clean = _load(tmp_path, task, None)
    for noise in TASKS[task].robustness.noises:
        noisy = _load(tmp_path, task, noise)
        assert [example.target for example in noisy] == [example.target for example in clean]
        assert [example.encoded.texts for example in noisy] != [example.encoded.texts for example in clean]


def _load(folder: Path, task: str, noise: NoiseName | None) -> Sequence[Any]:
    read = TASKS[task] if noise is None else make_noisy(TASKS[task], noise)
    return load_part(str(folder), "validation", "validation", read, outputs_of(TASKS[task]), READER).examples


def test_words_keep_their_tags(tmp_path: Path) -> None:
    _write(tmp_path, "validation", [{"tokens": ["lovely", "Carlos", "film"], "tags": ["O", "B-person", "O"]}])
    (example,) = _load(tmp_path, "ner", "typos")
    joined = make_typos("lovely\nCarlos\nfilm", random.Random("typos/lovely\nCarlos\nfilm"))
    assert example.encoded.texts["tokens"] == joined.replace("\n", " ")


def test_drawn_rows_stay_in_order_and_groups_whole() -> None:
    rows = list(range(60))
    groups = [None if row % 3 else f"{row // 6}" for row in rows]
    drawn = draw_rows(rows, 20, groups)
    assert 18 <= len(drawn) <= 20
    assert list(drawn) == sorted(drawn) == list(draw_rows(rows, 20, groups))
    for group in {groups[row] for row in drawn} - {None}:
        assert all(row in drawn for row in rows if groups[row] == group)


def test_few_rows_are_all_measured() -> None:
    assert draw_rows([1, 2, 3], 3) == draw_rows([1, 2, 3], None) == [1, 2, 3]


def test_with_fewer_rows_noise_is_measured_on_the_same(tmp_path: Path) -> None:
    write_examples(tmp_path, "sentiment", validation=40)
    found = _measure(tmp_path, "sentiment", most_rows=8)
    assert {name: metrics["rows"] for name, metrics in found.items()} == dict.fromkeys(found, 8)
