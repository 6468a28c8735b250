"""The documentation: its commands run, the answers it shows are those that are given, and its tables fit the code."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from typer.main import get_command

from models.methods import METHODS
from models.tasks import TASKS, TRAINED
from models.tasks.masked_words import MASKED_WORDS
from models.tasks.task import ONE_VECTOR
from service.address import PREFIX
from service.cli.commands import app
from service.server.problems import KINDS
from service.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GUIDES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
PAGES = [*GUIDES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "zoo" / "README.md"]
START_S = 120

_FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>.*?) -->\n)?^```sh\n(?P<commands>.*?)^```$"
    r"(?:\n\n^```(?P<kind>text|json)\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_NUMBER = re.compile(r"(?<![\w.])(\d+)\.(\d+)(?![\w.])")


@dataclass(frozen=True)
class Block:
    """Commands as a page shows them, and the output shown under them."""

    commands: str
    is_run: bool
    kind: str | None
    output: str


def blocks(page: Path) -> list[Block]:
    """The command blocks of a page in order."""
    return [
        Block(found["commands"], found["reason"] is None, found["kind"], found["output"] or "")
        for found in _FENCE.finditer(page.read_text(encoding="utf-8"))
    ]


def shown_as_pattern(shown: str, kind: str) -> re.Pattern[str]:
    """Matches output that the page shows: `…` stands for anything, and a number may be shown rounded."""
    if kind == "json":
        pattern = ".*?".join(map(_escape, "".join(shown.split()).split("…")))
        return re.compile(pattern, re.DOTALL)
    lines = [
        r"(?:.*\n)*?" if line.strip() == "…" else r"[^\n]*".join(map(_escape, line.rstrip().split("…"))) + r"[ ]*\n"
        for line in shown.splitlines()
    ]
    return re.compile("".join(lines))


def _escape(text: str) -> str:
    pieces, end = [], 0
    for found in _NUMBER.finditer(text):
        pieces += [re.escape(text[end : found.start()]), _rounded(found[0], len(found[2]))]
        end = found.end()
    return "".join([*pieces, re.escape(text[end:])])


def _rounded(shown: str, decimals: int) -> str:
    """A pattern for every number that rounds to `shown`."""
    below = int(shown.replace(".", "")) - 1
    ways = [re.escape(shown) + r"(?:[0-4]\d*)?", re.escape(shown.rstrip("0"))]
    if below >= 0:
        digits = f"{below:0{decimals + 1}d}"
        ways.append(re.escape(f"{digits[:-decimals]}.{digits[-decimals:]}") + r"[5-9]\d*")
    return rf"(?:{'|'.join(ways)})(?!\d)"


@pytest.mark.parametrize("given", ["0.5240534", "0.5235"])
def test_a_number_shown_short_matches_what_rounds_to_it(given: str) -> None:
    pattern = shown_as_pattern('{"score": 0.524, …}', "json")
    assert pattern.fullmatch(f'{{"score":{given},"id":1}}')
    assert not pattern.fullmatch('{"score":0.5246,"id":1}')


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `steadfast` and `python` of this installation."""
    folder = tmp_path_factory.mktemp("bin")
    for name, words in (("steadfast", "-m service.cli"), ("python", "")):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n')
        script.chmod(0o755)
    return folder


def _environment(programs: Path) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    paths = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return mine | paths | {"COLUMNS": "120", "BENTOML_DO_NOT_TRACK": "true"}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def port(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where a server answers with all of the zoo."""
    number = _free_port()
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("wb") as out:
        words = [str(programs / "steadfast"), "serve", "--port", str(number)]
        process = subprocess.Popen(words, stdout=out, stderr=out, env=_environment(programs))
    try:
        end = time.monotonic() + START_S
        while not _is_ready(number):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield number
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as response:
        return bool(response.status == 200)
    return False


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_the_commands_of_a_page_give_what_it_shows(
    page: Path, programs: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run = [block for block in blocks(page) if block.is_run]
    together = "".join(block.commands for block in run)
    if "curl " in together and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    if "localhost:3000" in together:
        starts_its_own = "steadfast serve" in together
        number = _free_port() if starts_its_own else request.getfixturevalue("port")
    else:
        number = 3000
    (tmp_path / "zoo").symlink_to(ROOT / "zoo")
    groups: list[int] = []
    try:
        for block in run:
            given = _run(block, programs, tmp_path, number, groups)
            if block.kind is not None:
                compared = "".join(given.split()) if block.kind == "json" else given
                assert shown_as_pattern(block.output, block.kind).fullmatch(compared), f"{block.commands}\n{given}"
    finally:
        for group in groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)


def _run(block: Block, programs: Path, folder: Path, port: int, groups: list[int]) -> str:
    """The output of the commands. Processes that they leave running stay in the group that is added to `groups`."""
    commands = block.commands.replace(".venv/bin/", "").replace("3000", str(port))
    output, errors = folder / ".output", folder / ".errors"
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=folder, env=_environment(programs), stdout=out, stderr=err, start_new_session=True,
        )  # fmt: skip
        groups.append(process.pid)
        code = process.wait(START_S * 2)
    assert code == 0, f"{block.commands}\n{output.read_text()}\n{errors.read_text()}"
    return output.read_text(encoding="utf-8")


def test_every_command_shown_has_the_options_it_is_shown_with() -> None:
    lines = [
        line.strip()
        for page in PAGES
        for block in blocks(page)
        for line in block.commands.replace("\\\n", " ").splitlines()
        if "steadfast " in line and "from steadfast import" not in line
    ]
    assert len(lines) > 20
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for line in lines:
        _, _, rest = line.partition("steadfast ")
        words = shlex.split(rest, comments=True)
        command = commands[words[0]]
        # `data check` is a command of a group.
        command = getattr(command, "commands", {}).get(words[1], command) if len(words) > 1 else command
        known = {option for parameter in command.params for option in parameter.opts}
        stop = next((place for place, word in enumerate(words) if word in ("|", "<", ">", "&")), len(words))
        assert {word for word in words[:stop] if re.match("--?[a-z]", word)} <= known, line


def test_the_makefile_has_every_target_that_is_named() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join(
        line for page in PAGES for line in re.findall(r"`make [a-z-]+|^make [a-z-]+", page.read_text(), re.M)
    )
    assert set(re.findall(r"make ([a-z-]+)", code)) <= targets


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    _, _, figures = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Figures")
    shown = set(re.findall(r"0\.\d{4}", figures))
    assert len(shown) == 10
    assert shown <= set(re.findall(r"0\.\d{4}", (DOCS / "results.md").read_text(encoding="utf-8")))


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page}: {target}"
        assert not anchor or anchor in _anchors(found), f"{page}: {target}"


def _nav(entries: Any) -> Iterator[str]:
    for entry in entries:
        (value,) = entry.values() if isinstance(entry, dict) else [entry]
        yield from [value] if isinstance(value, str) else _nav(value)


def test_the_site_shows_every_page_and_no_other() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if "results" not in path.parts}
    assert set(_nav(site["nav"])) == pages


def test_the_reference_covers_every_wing() -> None:
    listed = set(re.findall(r"^::: ([\w.]+)", "".join(path.read_text() for path in DOCS.rglob("*.md")), re.MULTILINE))
    wings = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in ("models", "export", "service", "steadfast")
        for path in [ROOT / package / "__init__.py", *(ROOT / package).glob("*/__init__.py")]
    }
    assert wings <= listed


def _table(page: str, first_cell: str) -> list[list[str]]:
    """The rows of the table of a page whose heading begins with `first_cell`."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_cell} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def test_the_guide_to_data_names_the_columns_that_are_read() -> None:
    shown = {row[0]: row[1:3] for row in _table("data.md", "`--task`")}
    expected = {}
    for task in TRAINED.values():
        fields = (task.example_columns or task.columns).values()
        columns = "; ".join(", ".join(f"`{name}`" for name in names) for names in fields)
        expected[f"`{task.name}`"] = [columns, f"`{task.target_column}`" if task.target_column else "none"]
    assert shown == expected


def test_the_guide_to_http_names_every_kind_of_error() -> None:
    shown = {(row[1].strip("`"), int(row[0])) for row in _table("http.md", "status")}
    assert shown == {(code, kind.status) for code, kind in KINDS.items()}


def test_the_guide_to_deploying_names_every_setting_and_its_default() -> None:
    shown = {row[0].strip("`").lower(): row[1] for row in _table("deploy.md", "`STEADFAST_…`")}
    _check_settings(shown, Settings)


def test_the_guide_to_training_names_every_setting_and_its_default() -> None:
    from models.training.settings import TrainingSettings

    _check_settings({row[0].strip("`"): row[1] for row in _table("training.md", "setting")}, TrainingSettings)


def test_the_guide_to_training_names_every_setting_of_noise_its_option_and_its_default() -> None:
    from models.training.settings import TextNoise
    from service.cli.training.options import NOISE_OPTIONS

    rows = {cells[0].strip("`"): (cells[1].strip("`"), cells[2]) for cells in _table("training.md", "setting of noise")}
    options = {setting: f"--{name.replace('_', '-')}" for name, setting in NOISE_OPTIONS.items()}
    assert list(rows) == list(TextNoise.model_fields)
    for name, field in TextNoise.model_fields.items():
        assert rows[name][0] == options.get(name, ""), name
        assert rows[name][1] == str(field.default) or field.default in ((), None), name


def _check_settings(shown: Mapping[str, str], settings: type[BaseModel]) -> None:
    """The settings are shown in their order, each that has a number or a word for its default with that."""
    assert list(shown) == list(settings.model_fields)
    for name, field in settings.model_fields.items():
        if isinstance(field.default, (int, float, str)) and not isinstance(field.default, bool):
            assert shown[name] == f"`{field.default}`", name


def test_the_guide_to_methods_names_every_method_with_its_tasks() -> None:
    """`pretrain` stands for masked words; the few sets of tasks have names of their own."""
    names = {
        frozenset(TASKS): "all",
        frozenset(TASKS) - {"extractive-reading-comprehension"}: "all but extractive reading",
        frozenset(name for name, task in TASKS.items() if task.head in ONE_VECTOR): "all but entities and reading",
        frozenset(name for name, task in TASKS.items() if task.head == "sequence-classification"): (
            "all but entities, reading and any number of labels"
        ),
    }
    expected = {}
    for method in METHODS.values():
        tasks = names[frozenset(name for name, task in TASKS.items() if task.head in method.heads)]
        expected[f"`{method.name}`"] = tasks + ("; `pretrain`" if MASKED_WORDS.head in method.heads else "")
    assert {row[0]: row[2] for row in _table("methods.md", "`--method`")} == expected


def test_the_guide_to_methods_names_every_setting() -> None:
    from models.robust import IMPLEMENTATIONS

    text = (DOCS / "methods.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    for name, method in IMPLEMENTATIONS.items():
        described = "".join(body for title, body in sections if f"`{name}`" in title)
        missing = [setting for setting in method.settings.model_fields if f"`{setting}`" not in described]
        assert not missing, f"{name}: {missing}"


def test_the_guide_to_importing_names_every_label_and_its_other_names() -> None:
    shown = {_code(task)[0]: (_code(labels), names) for task, labels, names in _table("importing.md", "`--task`")}
    known = {name: task.known_as for name, task in TASKS.items() if task.known_as}
    assert {name: labels for name, (labels, _) in shown.items()} == {name: [*one] for name, one in known.items()}
    for name, (_, others) in shown.items():
        groups = [_code(group) for group in others.split(";")]
        assert groups == [list(names) for names in known[name].values() if names]


def _code(cell: str) -> list[str]:
    """The words of a cell that are set as code."""
    return re.findall(r"`([^`]+)`", cell)
