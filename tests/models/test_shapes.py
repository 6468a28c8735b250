"""The pytest hook that checks shapes covers every module that annotates them."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _uses_jaxtyping(path: Path) -> bool:
    imports = (
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)
    )
    return any(node.module == "jaxtyping" for node in imports)


def _checked_packages() -> list[str]:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["addopts"].split()
    (packages,) = (option.partition("=")[2] for option in options if option.startswith("--jaxtyping-packages="))
    return list(packages.split(","))


MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("models", "export", "service")
    for path in sorted((ROOT / package).rglob("*.py"))
    if _uses_jaxtyping(path)
]


@pytest.mark.parametrize("module", MODULES)
def test_shapes_are_checked_in_every_module_that_annotates_them(module: str) -> None:
    assert any(module == package or module.startswith(f"{package}.") for package in _checked_packages())
