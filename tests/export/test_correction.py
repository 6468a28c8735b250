"""Packages that correct texts: made from a checkpoint trained with or without, and refused where their words lack."""

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from export.build import PackageForm, export_checkpoint
from export.changing import Change
from export.correcting import make_correction_for, measure_metrics
from export.errors import CannotCorrect, NothingMeasured, NoTwin
from export.package import MissingFile, WrongFormat, open_package
from export.publishing import Measured, MeasurePackage, measure_again
from export.session import open_packaged_model
from export.verification import verify_package
from models.checkpoint import read_record
from models.correction.spelling import WORDS_FILE
from models.data import load_validation
from models.evaluation import measure, predict_all
from models.networks.loading import open_trained_model
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import check_settings
from tests.export.conftest import copied
from tests.tiny import WORDNET, make_base, write_sentiment


@pytest.fixture(autouse=True)
def small_wordnet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(WORDNET))


@pytest.fixture(scope="module")
def correcting(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    out = tmp_path_factory.mktemp("packages") / "correcting"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WNSEARCHDIR", str(WORDNET))
        export_checkpoint(checkpoint, out, precision="fp32", form=PackageForm(correct=True))
    return out


def test_a_checkpoint_trained_without_can_be_made_to_correct(correcting: Path) -> None:
    package = open_package(correcting)
    assert package.manifest.correction == "words"
    assert WORDS_FILE in package.manifest.files
    assert verify_package(correcting).passed
    encoded = package.reader().read("the film was goood")
    assert [(change.span, change.to) for change in encoded.corrections["text"]] == [((13, 18), "good")]


def test_typing_errors_in_known_words_leave_answers_as_they_are(correcting: Path, fp32_package: Path) -> None:
    texts = ["the film was great", "the plot is awful", "a lovely story", "very dull"]
    spoilt = ["teh film wass graet", "the plto is afwul", "a lvely stroy", "veery dulll"]
    for folder, is_same in ((correcting, True), (fp32_package, False)):
        model = open_packaged_model(folder)
        right, changed = (
            [one.answer.scores for one in predict_all(model, [model.reader.read(text) for text in written])]
            for written in (texts, spoilt)
        )
        assert (right == changed) == is_same


def test_a_checkpoint_trained_with_correction_hands_its_words_on(tmp_path: Path) -> None:
    base, data = make_base(tmp_path / "base"), write_sentiment(tmp_path / "data")
    settings = check_settings(
        {"task": "sentiment", "base": str(base), "source": {"data": str(data)}, "epochs": 1, "max_tokens": 32,
         "precision": "fp32", "correct": True}
    )  # fmt: skip
    trained = tmp_path / "trained"
    train(settings, trained, Watcher(say=lambda _: None, advance=lambda *_: None))
    assert read_record(trained).correction == "words"
    export_checkpoint(trained, tmp_path / "package", precision="fp32")
    assert (tmp_path / "package" / WORDS_FILE).read_bytes() == (trained / WORDS_FILE).read_bytes()
    models = [open_trained_model(trained), open_packaged_model(tmp_path / "package")]
    assert all(model.reader.read("the film was goood").corrections for model in models)
    validation = load_validation(settings.source, models[0].task, models[0].outputs, models[0].reader).examples
    assert measure(models[0], validation) == measure(models[1], validation) == read_record(trained).metrics


@pytest.fixture(scope="module")
def misspelt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data`, whose validation part is misspelt, and a `package` that was trained on it."""
    folder = tmp_path_factory.mktemp("misspelt")
    base, data = make_base(folder / "base"), write_sentiment(folder / "data")
    (part,) = data.glob("validation.*")
    words = gzip.decompress(part.read_bytes()).decode()
    part.write_bytes(gzip.compress("".join(map(_swap_letters, words.splitlines())).encode()))
    settings = check_settings(
        {"task": "sentiment", "base": str(base), "source": {"data": str(data)}, "max_tokens": 32, "precision": "fp32"}
    )
    train(settings, folder / "trained", Watcher(say=lambda _: None, advance=lambda *_: None))
    export_checkpoint(folder / "trained", folder / "package", precision="fp32")
    return folder


def metrics_on(data: str) -> MeasurePackage:
    return lambda folder: Measured(metrics=measure_metrics(open_package(folder), data))


def _swap_letters(line: str) -> str:
    """A record in whose words of four letters and more the second and the third change places."""
    record = json.loads(line)
    text = re.sub(r"\b([a-z])([a-z])([a-z])(?=[a-z])", r"\1\3\2", record["text"])
    return json.dumps(record | {"text": text}) + "\n"


def test_a_package_without_its_words_is_refused(correcting: Path, tmp_path: Path) -> None:
    folder = copied(correcting, tmp_path)
    (folder / WORDS_FILE).unlink()
    with pytest.raises(MissingFile, match=r"words\.txt\.gz: missing"):
        open_package(folder)


def test_a_package_that_lists_no_words_to_correct_with_is_refused(correcting: Path, tmp_path: Path) -> None:
    folder = copied(correcting, tmp_path)
    manifest = open_package(folder).manifest
    files = {name: digest for name, digest in manifest.files.items() if name != WORDS_FILE}
    (folder / "package.json").write_text(manifest.model_copy(update={"files": files}).sealed().model_dump_json())
    with pytest.raises(WrongFormat, match=r"lists no words\.txt\.gz"):
        open_package(folder)


def test_a_correction_that_is_added_to_a_package_is_measured_with_it(misspelt: Path, tmp_path: Path) -> None:
    package, out, data = misspelt / "package", tmp_path / "out", str(misspelt / "data")
    before = open_package(package)
    correction = make_correction_for(before, data)
    made = measure_again(package, out, metrics_on(data), change=Change(correction=correction))
    assert made.metrics["validation"]["accuracy"] > before.manifest.metrics["validation"]["accuracy"]
    assert made.twins[0].metrics == before.manifest.metrics
    assert made.quality.exported == before.manifest.quality.exported
    assert verify_package(out, data=data).passed


def test_no_package_stands_beside_itself(misspelt: Path, tmp_path: Path) -> None:
    """A twin that corrects texts is no twin of a package that is made to."""
    data = str(misspelt / "data")
    export_checkpoint(misspelt / "trained", tmp_path / "corrects", precision="fp32", form=PackageForm(correct=True))
    export_checkpoint(misspelt / "trained", tmp_path / "plain", precision="fp32", twins=[tmp_path / "corrects"])
    plain = open_package(tmp_path / "plain")
    assert [twin.method for twin in plain.manifest.twins] == ["plain+correction"]
    correction = make_correction_for(plain, data)
    made = measure_again(tmp_path / "plain", tmp_path / "out", metrics_on(data), change=Change(correction=correction))
    assert (made.variant, [twin.method for twin in made.twins]) == ("plain+correction", ["plain"])
    with pytest.raises(NothingMeasured):
        measure_again(tmp_path / "plain", tmp_path / "x", lambda _: Measured(), change=Change(correction=correction))
    with pytest.raises(NoTwin, match=r"the same training, plain\+correction"):
        measure_again(
            tmp_path / "plain", tmp_path / "x", lambda _: Measured(), change=Change(correction=correction),
            twins=[tmp_path / "corrects"],
        )  # fmt: skip


def test_a_fallback_answers_corrected_texts_too(misspelt: Path, tmp_path: Path) -> None:
    export_checkpoint(misspelt / "trained", tmp_path / "both", form=PackageForm(with_fp32=True))
    before = open_package(tmp_path / "both")
    data = str(misspelt / "data")
    made = measure_again(
        tmp_path / "both",
        tmp_path / "out",
        metrics_on(data),
        change=Change(correction=make_correction_for(before, data)),
    )
    assert made.precision == "int8"
    assert len(made.fallback_probes) == len(before.manifest.fallback_probes) > 0
    # The cost of int8 was measured on texts as they are written, and the card says so.
    assert f"in int8 {made.quality.exported:.4f}, without correction." in (tmp_path / "out" / "README.md").read_text()
    assert verify_package(tmp_path / "out").passed


def test_a_package_that_names_no_texts_gets_no_words(misspelt: Path) -> None:
    package = open_package(misspelt / "package")
    nameless = replace(package, manifest=package.manifest.model_copy(update={"data": ()}))
    with pytest.raises(
        CannotCorrect, match=r"names no texts that it was trained on.*export its checkpoint with --correct"
    ):
        make_correction_for(nameless, str(misspelt / "data"))
