"""`steadfast export --robust`, and what the commands then show and demand."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from export.package import Manifest, open_package
from service.cli.commands import app
from tests.tiny import WORDNET


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def measured(made: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with a passport."""
    out = tmp_path_factory.mktemp("passport") / "package"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WNSEARCHDIR", str(WORDNET))
        demand = ("--require", "typos-1>=0.01", "--require", "name-gap<=1")
        ran = _run(
            "export",
            made("sentiment") / "trained",
            "-o",
            out,
            "--precision",
            "fp32",
            "--robust",
            "--explanations",
            *demand,
        )
    assert ran.exit_code == 0, ran.output
    return out


@pytest.fixture(scope="module")
def manifest(measured: Path) -> Manifest:
    return open_package(measured).manifest


def test_the_package_states_what_it_withstands(manifest: Manifest) -> None:
    passport = manifest.passport
    assert passport is not None
    assert [one.name for one in passport.attacks] == ["typos-1", "typos-2", "synonyms+any-sense-20%"]
    assert passport.attacks[0].rows == manifest.quality.rows
    assert passport.attacks[0].accuracy == manifest.metrics["validation"]["accuracy"]
    assert set(passport.metrics) == {"random typos", "random word swaps", "random synonyms"}
    assert manifest.faithfulness


def test_models_verify_and_the_card_show_it(measured: Path, manifest: Manifest) -> None:
    assert manifest.passport is not None
    one = manifest.passport.attacks[0]
    shown = f"{one.under_attack:.4f} ± {one.standard_error:.4f}"
    assert f"| sentiment | typos-1 | {shown} |" in _run("models", measured, "--markdown").stdout
    assert "random typos/accuracy" in _run("models", measured).stdout
    assert f"typos-1 {shown}" in " ".join(_run("verify", measured).stdout.split())
    assert f"| typos-1 | {shown} |" in (measured / "README.md").read_text()


def test_an_export_that_falls_short_leaves_nothing(made: Callable[[str], Path], tmp_path: Path) -> None:
    ran = _run(
        "export",
        made("sentiment") / "trained",
        "-o",
        tmp_path / "x",
        "--precision",
        "fp32",
        "--require",
        "accuracy>=1.1",
    )
    assert "accuracy>=1.1 is required, and accuracy is" in str(ran.exception)
    ran = _run("export", made("sentiment") / "trained", "-o", tmp_path / "x", "--require", "accuracy")
    assert str(ran.exception).startswith("requirement 'accuracy': write FIGURE>=NUMBER")
    assert not list(tmp_path.iterdir())


def test_a_server_refuses_a_package_that_falls_short(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr("os.execve", lambda *arguments: started.append(arguments))
    monkeypatch.setattr("os.execv", lambda *arguments: started.append(arguments))
    ran = _run("serve", measured, "--require", "typos-1>=0.01,typos-2>=1.01")
    assert "typos-2>=1.01 is required, and typos-2 is" in str(ran.exception)
    ran = _run("serve", measured, "--require", "typos-1")
    assert "require (STEADFAST_REQUIRE): " in str(ran.exception)
    assert started == []
