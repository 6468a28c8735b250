"""Options of training commands and a settings file, put together."""

from pathlib import Path

import pytest
import typer

from models.training.settings import TrainingError
from service.cli.training.options import read_run_settings


def _write(folder: Path, text: str) -> Path:
    (folder / "run.toml").write_text(text)
    return folder / "run.toml"


def test_options_of_noise_win_over_the_files_and_leave_the_others(tmp_path: Path) -> None:
    file = _write(tmp_path, '[noise]\nfamilies = ["synonyms"]\nshare = 0.3\nconsistency = 2.0\n')
    read = read_run_settings(file, {"noise": "typos, unicode", "consistency": 0.5, "word_noise": None})
    assert read["noise"] == {"families": ["typos", "unicode"], "share": 0.3, "consistency": 0.5}


def test_labels_are_named_with_commas_and_win_over_the_files(tmp_path: Path) -> None:
    file = _write(tmp_path, 'labels = ["a", "b"]\n')
    assert read_run_settings(file, {"labels": "c, d e,f"})["labels"] == ["c", "d e", "f"]
    assert read_run_settings(file, {"labels": None})["labels"] == ["a", "b"]


def test_without_options_the_files_noise_stays(tmp_path: Path) -> None:
    file = _write(tmp_path, "[noise]\nword_noise = 0.05\n")
    assert read_run_settings(file, {"noise": None, "epochs": 2})["noise"] == {"word_noise": 0.05}


def test_noise_none_leaves_out_the_files_noise(tmp_path: Path) -> None:
    file = _write(tmp_path, "epochs = 2\n[noise]\nword_noise = 0.05\n")
    assert read_run_settings(file, {"noise": "none"}) == {"epochs": 2, "source": {}}


def test_noise_none_beside_other_options_of_noise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--noise none trains without noise; leave out the other options"):
        read_run_settings(_write(tmp_path, "epochs = 2\n"), {"noise": "none", "word_noise": 0.05})


def test_without_any_noise_there_is_no_table(tmp_path: Path) -> None:
    assert "noise" not in read_run_settings(_write(tmp_path, "epochs = 2\n"), {"noise": None, "word_noise": None})


def test_names_in_the_data_are_options_and_win_one_by_one_over_the_files(tmp_path: Path) -> None:
    file = _write(tmp_path, '[source]\ndata = "d"\n[source.columns]\ntext = "a.b"\nlabel = "c"\n')
    given = {"label_column": "stars", "premise_column": None, "label_map": ["pos=positive, neg=negative", "a=b=1"]}
    assert read_run_settings(file, given) == {
        "source": {
            "data": "d",
            "columns": {"text": "a.b", "label": "stars"},
            "label_map": {"pos": "positive", "neg": "negative", "a=b": "1"},
        }
    }
    assert read_run_settings(file, {"label_map": None})["source"]["columns"] == {"text": "a.b", "label": "c"}


@pytest.mark.parametrize("entry", ["pos", "=positive", "a=b,c"])
def test_a_map_of_labels_that_is_none_is_refused(entry: str) -> None:
    with pytest.raises(typer.BadParameter, match="write NAME=LABEL"):
        read_run_settings(None, {"label_map": [entry]})
