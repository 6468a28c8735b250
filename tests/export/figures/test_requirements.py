"""What is demanded of the figures of a package."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.figures.passport import AttackFigure, NameGap, Passport
from export.figures.requirements import (
    BadRequirement,
    FallsShort,
    Requirement,
    check_measured,
    check_requirements,
    read_requirement,
)
from export.figures.stated import list_figures, list_headlines, passport_table
from export.package import Manifest, Twin, read_manifest
from models.checkpoint import read_record
from tests.service.conftest import steadfast
from tests.service.tiny import build_package

PASSPORT = Passport(
    attacks=(
        AttackFigure(attack="typos", words="1", rows=400, accuracy=0.92, under_attack=0.7, standard_error=0.0229),
        AttackFigure(attack="synonyms", words="20%", rows=400, accuracy=0.92, under_attack=0.5, standard_error=0.025),
    ),
    metrics={
        "random typos": {"accuracy": 0.9, "f1": 0.89, "rows": 872},
        "HANS": {"accuracy": 0.54, "f1": 0.5, "consistency": 0.3, "rows": 2000},
        "CheckList MFT": {"failure_rate": 0.1, "rows": 100},
    },
    name_gap=NameGap(gap=0.08, kind="religion", highest="Hindu", lowest="Muslim", templates=4),
)

UNNAMED = Twin(method="", precision="int8", digest="", metrics={}, passport=PASSPORT)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(build_package(tmp_path_factory.mktemp("bare") / "tiny"))


@pytest.fixture(scope="module")
def manifest(bare: Manifest) -> Manifest:
    attacks = (PASSPORT.attacks[0].model_copy(update={"under_attack": 0.5}),)
    passport = Passport(attacks=attacks, metrics={"HANS": {"accuracy": 0.49}})
    twin = Twin(method="asa", precision="int8", digest="d", metrics=bare.metrics, passport=passport)
    other = Twin(method="afa", precision="int8", digest="e", metrics=bare.metrics)
    return bare.model_copy(update={"passport": PASSPORT, "twins": (twin, other)})


def _check(manifest: Manifest, *demands: str) -> None:
    check_requirements(manifest, [read_requirement(one) for one in demands], origin="packages/x")


def test_figures_have_the_names_of_what_was_measured(manifest: Manifest) -> None:
    assert list_figures(manifest) == {
        "accuracy": 1.0, "typos-1": 0.7, "synonyms-20%": 0.5, "random typos/accuracy": 0.9, "random typos/f1": 0.89,
        "HANS/accuracy": 0.54, "HANS/f1": 0.5, "HANS/consistency": 0.3, "CheckList MFT/failure_rate": 0.1,
        "name-gap": 0.08,
    }  # fmt: skip
    left_out = set(list_figures(manifest)) - set(list_headlines(manifest))
    assert left_out == {"random typos/f1", "HANS/f1"}


def test_a_table_holds_the_twins_beside_the_package(manifest: Manifest, bare: Manifest) -> None:
    lines = {name: values for name, *values in passport_table(manifest)}
    assert lines["typos-1"] == ["0.7000 ± 0.0229", "0.5000 ± 0.0229", ""]
    assert lines["HANS/accuracy"] == ["0.5400", "0.4900", ""]
    assert lines["name-gap"] == ["0.0800", "", ""]
    assert "accuracy" not in lines
    assert passport_table(bare) == []


@pytest.mark.parametrize(
    "demand", ["typos-1>=0.7", "accuracy >= .9", "name-gap<=0.08", "sentiment: HANS/accuracy >= 0.5", "nli:typos-1>=1"]
)
def test_a_package_that_keeps_it_passes(manifest: Manifest, demand: str) -> None:
    _check(manifest, demand)


@pytest.mark.parametrize(
    ("demand", "said"),
    [
        ("typos-1>=0.71", "packages/x: typos-1>=0.71 is required, and typos-1 is 0.7;"),
        ("name-gap<=0.05", "name-gap is 0.08;"),
        ("sentiment:synonyms-20%>=0.6", "sentiment:synonyms-20%>=0.6 is required"),
        ("typos-2>=0.1", "typos-2 was not measured; it has: accuracy, typos-1"),
    ],
)
def test_a_package_that_falls_short_is_refused_with_the_figure(manifest: Manifest, demand: str, said: str) -> None:
    with pytest.raises(FallsShort, match=said):
        _check(manifest, "accuracy>=0.5", demand)


def test_a_package_without_a_passport_says_how_to_get_one(bare: Manifest) -> None:
    with pytest.raises(FallsShort, match="it has: accuracy; `steadfast export --robust` measures more"):
        _check(bare, "typos-1>=0.1")


@pytest.mark.parametrize("demand", ["", "typos-1", "typos-1>0.7", "typos-1=0.7", ">=0.7", "typos-1>=much", "a>=1,b>=2"])
def test_what_cannot_be_read_is_refused_with_an_example(demand: str) -> None:
    with pytest.raises(BadRequirement, match=r"such as typos-1>=0\.70"):
        read_requirement(demand)


def test_a_task_that_is_not_there_is_named() -> None:
    with pytest.raises(BadRequirement, match="no task 'mood'; there are: sentiment"):
        read_requirement("mood:accuracy>=0.5")


@given(
    task=st.sampled_from([None, "sentiment", "nli"]),
    figure=st.sampled_from(list(list_figures(UNNAMED))),
    comparison=st.sampled_from([">=", "<="]),
    bound=st.floats(0, 1e6),
)
def test_a_demand_reads_back_as_it_is_written(task: str | None, figure: str, comparison: str, bound: float) -> None:
    demand = Requirement(task, figure, comparison, bound)
    assert read_requirement(str(demand)) == demand


@pytest.mark.parametrize("demand", ["accuracy>=0.5", "f1>=0.5", "nli:typos-1>=0.5"])
def test_a_figure_that_every_export_measures_or_of_another_task_needs_nothing(checkpoint: Path, demand: str) -> None:
    check_measured(read_record(checkpoint), [read_requirement(demand)], is_robust=False)


def test_a_figure_of_the_passport_may_be_measured_with_robust(checkpoint: Path) -> None:
    check_measured(read_record(checkpoint), [read_requirement("HANS/accuracy>=0.5")], is_robust=True)


def test_an_export_that_will_not_measure_what_is_required_does_not_begin(checkpoint: Path, tmp_path: Path) -> None:
    completed = steadfast("export", checkpoint, "-o", tmp_path / "out", "--require", "typos-1>=0.5")
    assert completed.returncode == 2
    said = " ".join(completed.stderr.split())
    assert "typos-1>=0.5 is required, and without --robust only these are measured: accuracy, f1; add --robust" in said
    assert completed.stdout == ""
    assert list(tmp_path.iterdir()) == []
