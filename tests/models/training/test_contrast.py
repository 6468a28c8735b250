"""Training records made from those of a task that compares two texts."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from models.checkpoint import read_record
from models.data import Example
from models.networks.loading import load_tokenizer
from models.tasks import TASKS
from models.tasks.task import Outputs
from models.text import Reader, ReadingLimits
from models.training.contrast import make_contrast
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import TextNoise, TrainingError, check_settings
from tests.tiny import WORDNET

PAIRS = [("The good film is a story", "The film was good"), ("It was a bad plot", "Is the story bad")] * 40


@pytest.fixture(autouse=True)
def wordnet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(WORDNET))


def _read(base: Path) -> tuple[Reader, list[Example]]:
    reader = Reader(load_tokenizer(base).backend_tokenizer, ReadingLimits(max_tokens=32))
    items = [TASKS["nli"].item.model_validate({"premise": one, "hypothesis": other}) for one, other in PAIRS]
    return reader, [Example(TASKS["nli"].encode(item, reader, "right"), 1, item=item) for item in items]


def _make(base: Path, share: float, seed: int = 1, labels: Sequence[str] = ()) -> tuple[Example, ...]:
    reader, examples = _read(base)
    outputs = Outputs(tuple(labels)) if labels else TASKS["nli"].outputs
    return make_contrast(
        examples, TASKS["nli"], outputs, reader, TextNoise(families=("typos",), contrast_pairs=share), seed
    )


def test_pairs_come_in_twos_the_first_of_which_says_something_else(base: Path) -> None:
    made = _make(base, 1.0)
    assert len(made) == 4 * len(PAIRS)
    labels = ("contradiction", "neutral", "entailment")
    for outputs, other, same in (((), 2, 0), (labels, 0, 2)):
        targets = [example.target for example in _make(base, 1.0, labels=outputs)]
        assert targets == [other, same] * (2 * len(PAIRS))
    for different in made[::2]:
        premise, hypothesis = different.encoded.texts.values()
        assert premise in {text for pair in PAIRS for text in pair}
        assert hypothesis.lower() != premise.lower()


def test_the_share_is_that_of_the_texts(base: Path) -> None:
    """Of 160 texts 40 are chosen on average, with a standard deviation of 5.5."""
    assert 22 <= len(_make(base, 0.25)) / 2 <= 58
    assert _make(base, 0.0) == ()


def test_what_is_made_depends_on_the_seed_alone(base: Path) -> None:
    texts = [[dict(one.encoded.texts) for one in _make(base, 0.3, seed)] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_made_records_are_trained_on_beside_the_others(base: Path, tmp_path: Path) -> None:
    for part in ("train", "validation"):
        rows = [{"premise": one, "hypothesis": other, "label": "neutral"} for one, other in PAIRS[:8]]
        (tmp_path / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {
        "task": "nli", "base": str(base), "source": {"data": str(tmp_path)}, "epochs": 1, "batch_size": 8,
        "max_tokens": 32, "precision": "fp32", "noise": {"families": ["typos"], "contrast_pairs": 1.0},
    }  # fmt: skip
    said: list[str] = []
    record = train(check_settings(given), tmp_path / "out", Watcher(say=said.append, advance=lambda *_: None))
    assert "training on 32 made records beside the 8" in said
    assert record.steps == 5
    assert read_record(tmp_path / "out").data[0].rows == 8


def test_labels_that_cannot_say_what_pairs_are_made_for_are_refused(base: Path) -> None:
    given = {
        "task": "nli", "base": str(base), "source": {"data": "."}, "labels": ["entailment", "not_entailment"],
        "noise": {"families": ["typos"], "contrast_pairs": 0.1},
    }  # fmt: skip
    with pytest.raises(TrainingError, match="made pairs are contradiction or entailment, and contradiction is not"):
        check_settings(given)
