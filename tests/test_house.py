"""The size and manners of the code: small folders, files and functions, no private doors, sentences with a subject."""

import ast
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from service.cli.commands import app

ROOT = Path(__file__).parents[1]
PACKAGES = ("models", "export", "service", "steadfast")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
NAMES = [str(path.relative_to(ROOT)) for path in FILES]

MOST_MODULES = 16
MOST_LINES = 450
MOST_FUNCTION_LINES = 45
MOST_PARAMETERS = 10

PUBLIC = frozenset({"_asdict", "_fields", "_make", "_replace", "_exit"})
"""Public in spite of their names: the methods of named tuples, and `os._exit`."""

COMMANDS = frozenset(command.callback.__name__ for command in app.registered_commands if command.callback)
"""Functions whose parameters are the options of a command."""


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def long_functions(source: str) -> list[str]:
    """Functions that are too long, from `def` to their last line."""
    return [
        f"{node.name}: {length} lines"
        for node in functions(ast.parse(source))
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MOST_FUNCTION_LINES
    ]


def wide_functions(source: str, commands: Collection[str] = ()) -> list[str]:
    """Functions that take too many parameters. Commands may, because their options are parameters."""
    wide = []
    for node in functions(ast.parse(source)):
        parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        taken = [one for one in parameters if one.arg not in ("self", "cls")]
        if len(taken) > MOST_PARAMETERS and node.name not in commands:
            wide.append(f"{node.name}: {len(taken)} parameters")
    return wide


def private_attributes(source: str) -> list[str]:
    """Private attributes of anything but the object or class whose method reads them."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.startswith("__"):
            continue
        is_own = ast.unparse(node.value) in ("self", "cls", "super()")
        if not is_own and node.attr not in PUBLIC:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def headless_sentences(source: str) -> list[str]:
    """Docstrings, of attributes too, that open with "What" or "Of" in place of a subject."""
    texts = (
        (node.lineno, node.value.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )
    return [f"line {line}: {text.strip():.60}" for line, text in texts if re.match(r"\s*(What|Of)\b", text)]


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in FILES}), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_folder_is_small(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= MOST_MODULES


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_short(name: str) -> None:
    assert len((ROOT / name).read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("name", NAMES)
def test_functions_are_short(name: str) -> None:
    assert long_functions((ROOT / name).read_text()) == []


@pytest.mark.parametrize("name", NAMES)
def test_functions_take_few_parameters(name: str) -> None:
    commands = COMMANDS if name.startswith("service/cli/") else ()
    assert wide_functions((ROOT / name).read_text(), commands) == []


@pytest.mark.parametrize("name", NAMES)
def test_no_private_attribute_of_another_object_is_used(name: str) -> None:
    assert private_attributes((ROOT / name).read_text()) == []


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_name_their_subject(name: str) -> None:
    assert headless_sentences((ROOT / name).read_text()) == []


def test_what_breaks_the_rules_is_found() -> None:
    assert long_functions("def f():\n" + "    x = 1\n" * MOST_FUNCTION_LINES)
    assert wide_functions(f"def f({', '.join(f'a{number}' for number in range(11))}): ...")
    assert private_attributes("pool._lock") == ["line 1: pool._lock"]
    assert private_attributes("self._pool._lock") == ["line 1: self._pool._lock"]
    assert headless_sentences('x = 1\n"""Of each row its width."""')
    assert headless_sentences('def f():\n    """What is left."""')


def test_what_keeps_the_rules_passes() -> None:
    options = ", ".join(f"a{number}" for number in range(11))
    assert not wide_functions(f"def serve({options}): ...", ["serve"])
    assert not private_attributes("self._lock, cls._made, super()._made(), span._replace(start=1), type(x).__name__")
    assert not headless_sentences('"""Whatever is left."""\nname = "What"')
