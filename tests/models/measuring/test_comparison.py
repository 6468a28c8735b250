"""Methods side by side, on a tiny encoder and real files."""

import json
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from models.checkpoint import DataFile
from models.measuring.comparison import ComparisonPlan, compare, plan_runs
from models.measuring.comparison_table import AGREEMENT, STEP_COST, ComparisonTable, tabulate, write_markdown
from models.measuring.results import ComparisonError, RunResult, read_results
from models.training.interruption import Interrupted
from models.training.run import Watcher
from models.training.settings import TextNoise, TrainingSettings, check_settings
from tests.tiny import WORDNET, write_sentiment


def _settings(base: Path, data: Path, **changed: Any) -> TrainingSettings:
    given = {
        "task": "sentiment", "base": str(base), "source": {"data": str(data)}, "epochs": 1, "batch_size": 16,
        "rows": 64, "learning_rate": 1e-3, "max_tokens": 32, "precision": "fp32", "seed": 3,
    }  # fmt: skip
    return check_settings(given | changed)


def _plan(
    settings: TrainingSettings,
    out: Path,
    *methods: str,
    seeds: int = 1,
    keep: bool = False,
    measured_rows: int | None = None,
) -> ComparisonPlan:
    runs = plan_runs([_variant(settings, name) for name in methods], seeds)
    return ComparisonPlan(
        runs=runs, out=out, keeps_checkpoints=keep, measured_rows=measured_rows, command="steadfast compare"
    )


def _variant(settings: TrainingSettings, name: str) -> TrainingSettings:
    """The settings with the method, and with moved words where the name ends so."""
    noise = TextNoise(word_noise=0.1) if name.endswith("+noise") else None
    return settings.model_copy(update={"method": name.removesuffix("+noise"), "noise": noise})


def _ignore(*_: object) -> None:
    """Not looked at here."""


def _compare(plan: ComparisonPlan, taken: list[int] | None = None, stop_after: int | None = None) -> ComparisonTable:
    def advance(step: int, steps: int, seen: Mapping[str, float]) -> None:
        del steps, seen
        if taken is not None:
            taken.append(step)
            if len(taken) == stop_after:
                signal.raise_signal(signal.SIGINT)

    return compare(plan, Watcher(say=_ignore, advance=advance), _ignore)


@pytest.fixture(scope="module", autouse=True)
def _wordnet() -> Iterator[None]:
    """The same WordNet for every comparison here, whatever this machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WNSEARCHDIR", str(WORDNET))
        yield


@pytest.fixture(scope="module")
def settings(base: Path, data: Path) -> TrainingSettings:
    return _settings(base, data)


@pytest.fixture(scope="module")
def compared(settings: TrainingSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compared")
    _compare(_plan(settings, out, "plain", "asa", seeds=2))
    return out


def test_every_method_and_seed_leaves_a_result_and_no_weights(compared: Path) -> None:
    found = sorted(str(path.relative_to(compared)) for path in compared.rglob("*") if path.is_file())
    runs = ("asa-3", "asa-4", "plain-3", "plain-4")
    each = [f"{run}/{file}" for run in runs for file in ("result.json", "settings.json")]
    assert found == [*each[:4], "comparison.json", "comparison.md", *each[4:]]


def test_the_table_has_every_figure_of_every_method(compared: Path) -> None:
    table = ComparisonTable.model_validate_json((compared / "comparison.json").read_bytes())
    assert list(table.seeds) == ["plain", "asa"]
    accuracy = [f"validation{noise}: accuracy" for noise in ("", ", typos", ", word swaps", ", synonyms")]
    assert list(table.figures) == [*accuracy, *AGREEMENT.values(), STEP_COST]
    assert all(set(figures) == {"plain", "asa"} for figures in table.figures.values())
    assert table.figures[STEP_COST]["plain"].mean == 1.0
    assert -1 <= table.figures[AGREEMENT["pearson_detached"]]["asa"].mean <= 1
    assert table.rows == dict.fromkeys(accuracy, 40)
    assert (compared / "comparison.md").read_text() == write_markdown(table)


def test_a_bilstm_has_the_same_figures(data: Path, tmp_path: Path) -> None:
    settings = _settings(Path("bilstm"), data, bilstm={"word_width": 8, "state_width": 6})
    table = _compare(_plan(settings, tmp_path, "plain", "attention-at"))
    for name in AGREEMENT.values():
        assert set(table.figures[name]) == {"plain", "attention-at"}
        assert all(-1 <= figure.mean <= 1 for figure in table.figures[name].values())


def test_epochs_are_measured_on_the_rows_that_are_measured_in_the_end(
    settings: TrainingSettings, tmp_path: Path
) -> None:
    _compare(_plan(settings, tmp_path, "plain", measured_rows=7))
    (result,) = read_results(tmp_path)
    found = result.found["validation"]
    assert found["rows"] == 7
    assert result.epochs[-1].metrics == {name: value for name, value in found.items() if name != "rows"}


def test_what_has_a_result_is_not_trained_again(compared: Path, settings: TrainingSettings) -> None:
    taken: list[int] = []
    before = {path: path.stat().st_mtime_ns for path in compared.rglob("result.json")}
    table = _compare(_plan(settings, compared, "plain", "asa", seeds=2), taken)
    assert taken == []
    assert {path: path.stat().st_mtime_ns for path in compared.rglob("result.json")} == before
    assert len(table.figures["validation: accuracy"]["asa"].values) == 2


def test_stopped_and_started_again_it_finds_what_it_would_have(
    compared: Path, settings: TrainingSettings, tmp_path: Path
) -> None:
    plan = _plan(settings, tmp_path, "plain", "asa", seeds=2)
    taken: list[int] = []
    with pytest.raises(Interrupted, match="stopped after step 2 of 4"):
        _compare(plan, taken, stop_after=6)
    assert [path.parent.name for path in tmp_path.rglob("result.json")] == ["plain-3"]
    _compare(plan, taken)
    assert taken == [1, 2, 3, 4] * 4
    for again, before in zip(read_results(tmp_path), read_results(compared), strict=True):
        assert (again.found, again.epochs, again.settings) == (before.found, before.epochs, before.settings)
        assert again.agreement == before.agreement


def test_a_checkpoint_that_was_not_measured_yet_is_not_trained_again(
    settings: TrainingSettings, tmp_path: Path
) -> None:
    first = _compare(_plan(settings, tmp_path, "plain", keep=True))
    assert (tmp_path / "plain-3" / "checkpoint" / "model.safetensors").is_file()
    (tmp_path / "plain-3" / "result.json").unlink()
    taken: list[int] = []
    second = _compare(_plan(settings, tmp_path, "plain"), taken)
    assert taken == []
    assert second == first
    assert not (tmp_path / "plain-3" / "checkpoint").exists()


def test_another_method_joins_the_table(settings: TrainingSettings, tmp_path: Path) -> None:
    _compare(_plan(settings, tmp_path, "plain"))
    assert list(_compare(_plan(settings, tmp_path, "asa")).seeds) == ["plain", "asa"]


def test_a_method_with_noise_has_a_column_of_its_own(settings: TrainingSettings, tmp_path: Path) -> None:
    table = _compare(_plan(settings, tmp_path, "plain", "asa", "asa+noise"))
    assert list(table.seeds) == ["plain", "asa", "asa+noise"]
    assert table.noise == {"word_noise": 0.1}
    assert table.figures[STEP_COST].keys() == {"plain", "asa", "asa+noise"}
    results = {result.settings.variant: result for result in read_results(tmp_path)}
    assert "moved" in results["asa+noise"].epochs[0].losses
    assert "moved" not in results["asa"].epochs[0].losses
    assert "- noise: word_noise 0.1" in (tmp_path / "comparison.md").read_text()


@pytest.mark.parametrize("variants", [("plain+noise",), ("plain", "asa", "asa+noise")])
def test_runs_with_other_noise_are_not_mixed(
    settings: TrainingSettings, tmp_path: Path, variants: tuple[str, ...]
) -> None:
    (tmp_path / "plain+noise-9").mkdir()
    run = settings.model_copy(update={"noise": TextNoise(word_noise=0.2)})
    claim = run.model_dump(mode="json") | {"measured_rows": None}
    (tmp_path / "plain+noise-9" / "settings.json").write_text(json.dumps(claim))
    with pytest.raises(ComparisonError, match=r"plain\+noise-9: a run with another noise"):
        _compare(_plan(settings, tmp_path, *variants))


def test_a_comparison_of_an_earlier_version_goes_on(settings: TrainingSettings, tmp_path: Path) -> None:
    _compare(_plan(settings, tmp_path, "plain"))
    file = tmp_path / "plain-3" / "settings.json"
    written = json.loads(file.read_text())
    for name in ("base_share", "correct", "outside_threshold"):
        del written[name]
    del written["source"]["label_map"]
    file.write_text(json.dumps(written))
    assert list(_compare(_plan(settings, tmp_path, "plain", "asa")).seeds) == ["plain", "asa"]


@pytest.mark.parametrize(
    ("written", "said"),
    [("{", "is damaged"), ("7", "is damaged"), ('{"task": "sentiment"}', "is missing"), ('{"x": 1}', "is missing")],
)
def test_damaged_settings_are_named(settings: TrainingSettings, tmp_path: Path, written: str, said: str) -> None:
    (tmp_path / "plain-9").mkdir()
    (tmp_path / "plain-9" / "settings.json").write_text(written)
    with pytest.raises(ComparisonError, match=rf"plain-9/settings\.json: .*{said}; choose another folder"):
        _compare(_plan(settings, tmp_path, "plain"))


@pytest.mark.parametrize("method", ["plain", "asa"])
def test_runs_with_other_settings_are_not_mixed(
    base: Path, data: Path, settings: TrainingSettings, tmp_path: Path, method: str
) -> None:
    _compare(_plan(settings, tmp_path, "plain"))
    other = _settings(base, data, learning_rate=2e-3, rows=None)
    with pytest.raises(ComparisonError, match="plain-3: a run with another learning_rate, rows; choose another folder"):
        _compare(_plan(other, tmp_path, method))


def test_seeds_of_one_method_have_the_same_method_settings(settings: TrainingSettings, tmp_path: Path) -> None:
    (tmp_path / "asa-9").mkdir()
    run = settings.model_copy(update={"method": "asa", "method_settings": {"tau": 0.3}})
    claim = run.model_dump(mode="json") | {"measured_rows": None}
    (tmp_path / "asa-9" / "settings.json").write_text(json.dumps(claim))
    with pytest.raises(ComparisonError, match="asa-9: a run with another method_settings"):
        _compare(_plan(settings, tmp_path, "asa"))


def test_results_of_other_data_are_not_mixed(base: Path, tmp_path: Path) -> None:
    settings = _settings(base, write_sentiment(tmp_path / "data"))
    _compare(_plan(settings, tmp_path / "out", "plain"))
    write_sentiment(tmp_path / "data", train=80)
    with pytest.raises(ComparisonError, match="trained on other data than the runs beside it"):
        _compare(_plan(settings, tmp_path / "out", "plain", seeds=2))


def test_a_damaged_result_is_named(settings: TrainingSettings, tmp_path: Path) -> None:
    _compare(_plan(settings, tmp_path, "plain"))
    (tmp_path / "plain-3" / "result.json").write_text("{}")
    with pytest.raises(ComparisonError, match=r"plain-3/result\.json: not a result of this version; remove it"):
        _compare(_plan(settings, tmp_path, "plain"))


def _measured(settings: TrainingSettings, method: str, seed: int, accuracy: float, cpu_s: float) -> RunResult:
    return RunResult(
        settings=settings.model_copy(update={"method": method, "seed": seed}),
        steps=10,
        cpu_s=cpu_s,
        data=(DataFile(part="train", name="train", sha256=None, rows=3),),
        epochs=(),
        kept_epoch=1,
        found={"validation": {"accuracy": accuracy, "f1": 0.1, "rows": 8}},
        agreement=None,
        left_out={"HANS": "not there"},
    )


def test_figures_are_means_and_sample_deviations_and_costs_are_ratios_of_the_same_seed(
    settings: TrainingSettings,
) -> None:
    table = tabulate(
        [
            _measured(settings, "asa", 1, 0.5, 6.0), _measured(settings, "plain", 1, 0.25, 3.0),
            _measured(settings, "asa", 2, 0.7, 4.0), _measured(settings, "asa", 3, 0.9, 9.0),
            _measured(settings, "plain", 2, 0.75, 1.0),
        ],
        "steadfast compare",
    )  # fmt: skip
    accuracy = table.figures["validation: accuracy"]
    assert accuracy["asa"].mean == pytest.approx(0.7)
    assert accuracy["asa"].spread == pytest.approx(0.2)
    assert accuracy["plain"].spread == pytest.approx(0.125**0.5)
    assert table.figures[STEP_COST]["asa"].values == {1: 2.0, 2: 4.0}
    written = write_markdown(table)
    assert "| validation: accuracy | 8 | 0.5000 ± 0.3536 | 0.7000 ± 0.2000 |" in written
    assert "- HANS: not there" in written


def test_gains_are_differences_between_runs_of_the_same_seed(settings: TrainingSettings) -> None:
    results = [
        _measured(settings, "asa", 1, 0.5, 6.0), _measured(settings, "plain", 1, 0.25, 3.0),
        _measured(settings, "asa", 2, 0.7, 4.0), _measured(settings, "asa", 3, 0.9, 9.0),
        _measured(settings, "plain", 2, 0.75, 1.0),
    ]  # fmt: skip
    table = tabulate(results, "steadfast compare")
    gain = table.gains["validation: accuracy"]["asa"]  # of 0.25 and -0.05: seed 3 has no plain run
    assert gain.mean == pytest.approx(0.1)
    assert gain.standard_error == pytest.approx(0.15)
    assert STEP_COST not in table.gains
    assert "| validation: accuracy | +0.1000 ± 0.1500 |" in write_markdown(table)


def test_without_plain_there_is_nothing_to_gain_on(settings: TrainingSettings) -> None:
    table = tabulate([_measured(settings, "asa", 1, 0.5, 6.0)], "steadfast compare")
    assert table.gains == {}
    assert "Against plain" not in write_markdown(table)
