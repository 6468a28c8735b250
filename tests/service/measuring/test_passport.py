"""A passport, measured on a real package."""

import json
from pathlib import Path

import pytest

from models.attack.subjects import load_subjects
from models.files.parts import DataError
from models.tasks.sentiment import SENTIMENT
from service.answers.predictor import Predictor
from service.measuring.passport import STATED, measure_attacks, measure_passport
from tests.tiny import WORDNET

TEXTS = [("the film was great", 1), ("boring film", 0), ("awful , not great", 0), ("was fine", 1), ("bad", 1)]


def _ignore(*_: object) -> None:
    """Progress is not looked at here."""


@pytest.fixture
def data(tmp_path: Path) -> str:
    lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in TEXTS]
    (tmp_path / "validation.jsonl").write_text("".join(lines))
    pairs = [json.dumps({"text": text, "label": 1, "pair_id": 0}) + "\n" for text in ("good film", "great film")]
    (tmp_path / "imdb_contrast_validation.jsonl").write_text("".join(pairs))
    return str(tmp_path)


def test_it_holds_attacks_noise_sets_and_the_name_gap(
    predictor: Predictor, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(WORDNET))
    said: list[str] = []
    found = measure_passport(predictor, data, "validation", _ignore, said.append)
    assert [one.name for one in found.attacks] == [one.name for one in STATED]
    assert all(one.rows == len(TEXTS) and one.accuracy >= one.under_attack for one in found.attacks)
    assert set(found.metrics) == {"random typos", "random word swaps", "random synonyms", "IMDB contrast"}
    assert found.metrics["IMDB contrast"]["consistency"] == 1.0
    # The package reads only words of praise and blame, so all names are alike to it but for their length in tokens.
    assert found.name_gap is not None
    assert any("Rotten Tomatoes" in one for one in said)
    assert found == measure_passport(predictor, data, "validation", _ignore, _ignore)


def test_what_needs_wordnet_is_left_out_where_there_is_none(
    predictor: Predictor, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path / "nowhere"))
    said: list[str] = []
    found = measure_passport(predictor, data, "validation", _ignore, said.append)
    assert [one.name for one in found.attacks] == ["typos-1", "typos-2"]
    assert "random synonyms" not in found.metrics
    assert any(one.startswith("not measured: synonyms+any-sense-20%") for one in said)


def test_attacks_with_more_words_leave_no_more_right_answers(predictor: Predictor, data: str) -> None:
    subjects = load_subjects(data, "validation", SENTIMENT, predictor.package.manifest.meaning, (), None)
    seen: list[tuple[str, int, int]] = []
    one, two = measure_attacks(predictor, subjects, STATED[:2], lambda *report: seen.append(report))
    assert one.accuracy == two.accuracy
    assert one.accuracy >= one.under_attack >= two.under_attack
    assert seen[-1] == ("typos-2", len(TEXTS), len(TEXTS))
    assert measure_attacks(predictor, subjects, STATED[:1], _ignore) == (one,)


def test_a_part_that_is_not_there_is_an_error(predictor: Predictor, data: str) -> None:
    with pytest.raises(DataError, match="no part"):
        measure_passport(predictor, data, "another", _ignore, _ignore)
