"""The packages that come along answer here as they did where they were made, and can be made again."""

import subprocess
from pathlib import Path

import pytest

from benchmarks.zoo import RECIPES, TASKS, NoRecipe, plan
from export.package import read_manifest
from export.verification import verify_package
from models.correction.spelling import WORDS_FILE, KnownWords
from models.tasks import TASKS as ALL_TASKS
from models.training.settings import check_settings, read_toml
from steadfast import load
from tests.tiny import WORDNET

ZOO = Path(__file__).parents[1] / "zoo"


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in ZOO.glob("*/package.json")), ids=lambda path: path.name
)
def test_every_package_of_the_zoo_verifies(folder: Path) -> None:
    failed = [f"{check.name}: {check.detail}" for check in verify_package(folder).checks if not check.passed]
    assert failed == []


def test_words_that_the_guides_name_are_read_as_they_say() -> None:
    """In README.md and docs/training.md."""
    read = {"dragan": "dragon", "dunny": "funny", "cmake": "make", "Thuy": "They"}
    kept = ("gmail", "sorta", "putri", "wierd", "isnt", "chonky")
    words = KnownWords.read(ZOO / "sentiment" / WORDS_FILE)
    assert {word: words.correct(word) for word in (*read, *kept)} == {**read, **dict(zip(kept, kept, strict=True))}
    assert "definately" not in words


def test_the_package_for_entities_reads_a_misspelt_name_and_quotes_it() -> None:
    """As docs/training.md says."""
    words = KnownWords.read(ZOO / "ner" / WORDS_FILE)
    assert words.correct("Trmup", names=True) == "Trump"
    with load("ner") as model:
        (result,) = model.score(["Trmup met Angela Merkel in Berlni."])
    assert [(entity.label, entity.text) for entity in result.entities] == [
        ("person", "Trmup"),
        ("person", "Angela Merkel"),
        ("location", "Berlni"),
    ]
    assert [change.to for change in result.corrections] == ["Trump", "Berlin"]


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*/*.toml")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_a_package_was_trained_by_are_settings_that_train_takes(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(WORDNET))
    given = read_toml(file)
    settings = check_settings({"base": "base", **given, "source": {"data": "folder", **given["source"]}})
    assert settings.task == file.parent.name


def test_every_package_has_a_recipe() -> None:
    assert {path.name for path in RECIPES.iterdir()} == set(TASKS) <= ALL_TASKS.keys()
    assert {path.parent.name for path in ZOO.glob("*/package.json")} <= set(TASKS)


def test_a_twin_goes_through_the_same_stages_without_noise(tmp_path: Path) -> None:
    steps = [*plan("sentiment", "data", "base", tmp_path)]
    made = {step.made.name: step.arguments for step in steps}
    noisy = [name for name in made if f"{name}-twin" in made]
    assert "sentiment-2-noise" in noisy
    for name in noisy:
        if name != "sentiment":
            own, twin = made[name], made[f"{name}-twin"]
            assert twin[-2:] == ("--noise", "none")
            assert own[:3] == twin[:3]
    first = str(tmp_path / "stages" / "sentiment-1-first")
    assert made["sentiment-2-noise"][4] == made["sentiment-2-noise-twin"][4] == first
    # What a stage starts from is made before it, and the twin's package before the package that is compared with it.
    there: set[str] = set()
    for step in steps:
        there.add(str(step.made))
        assert {argument for argument in step.arguments if argument.startswith(str(tmp_path))} <= there
    assert steps[-2].arguments[4:6] == ("--twin", str(tmp_path / "sentiment-twin"))
    assert steps[-1].arguments[:2] == ("measure", str(steps[-2].made))
    assert steps[-1].arguments[4:7] == ("--correct", "--blind", "0.5")
    assert [*plan("ner", "data", "base", tmp_path)][-1].arguments[4:6] == ("--correct", "--robust")
    assert steps[-1].made == tmp_path / "sentiment"


def test_the_twin_of_a_recipe_without_noise_is_trained_plainly(tmp_path: Path) -> None:
    made = {step.made.name: step.arguments for step in plan("reading-comprehension", "data", "base", tmp_path)}
    assert made["reading-comprehension-1-first-twin"][-2:] == ("--method", "plain")
    first = tmp_path / "stages" / "reading-comprehension-1-first"
    assert made["reading-comprehension-1-first"][-2:] == ("--out", str(first))
    assert made["reading-comprehension-twin"][1] == f"{first}-twin"


def test_a_task_that_starts_from_another_asks_for_it(tmp_path: Path) -> None:
    with pytest.raises(NoRecipe, match="sts starts from a model for nli; name nli before it"):
        [*plan("sts", "data", "base", tmp_path, [])]
    with pytest.raises(NoRecipe, match="no recipe for 'mood'"):
        [*plan("mood", "data", "base", tmp_path)]


def test_make_zoo_trains_what_is_named() -> None:
    printed = subprocess.run(
        ["make", "--dry-run", "zoo", "DATA=data", "BASE=base", "TASKS=nli sts"],
        cwd=ZOO.parent, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "python -m benchmarks.zoo --data data --base base nli sts" in printed


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in ZOO.glob("*/package.json")), ids=lambda path: path.name
)
def test_every_package_of_the_zoo_states_how_its_answers_are_spread(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest.reference is not None
    assert [file.name for file in manifest.data if file.part == "validation"] == [manifest.reference.texts]
