"""The names that Python programs import."""

import subprocess
import sys

import pytest

import steadfast
from tests.service.conftest import ROOT


def test_importing_it_imports_nothing_else() -> None:
    script = (
        "import sys; there = set(sys.modules); import steadfast; "
        "print({name.partition('.')[0] for name in sys.modules.keys() - there} - sys.stdlib_module_names)"
    )
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True, text=True)
    assert said.stdout.strip() == "{'steadfast'}"


@pytest.mark.parametrize("name", steadfast.__all__)
def test_every_name_is_there(name: str) -> None:
    found = getattr(steadfast, name)
    assert name == "__version__" or found.__name__ == name


def test_errors_are_caught_by_their_roots() -> None:
    assert issubclass(steadfast.NotAnswered, steadfast.UserError)
    for error in (steadfast.NoSteadfast, steadfast.Refused, steadfast.Unreachable):
        assert issubclass(error, steadfast.ClientError)


def test_a_name_that_is_not_there_is_an_error_of_python() -> None:
    with pytest.raises(AttributeError, match="module 'steadfast' has no attribute 'Cleint'"):
        getattr(steadfast, "Cleint")  # noqa: B009
