"""Files and folders that cannot be written are refused before any work, under the name that was given."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.folders import NotWritable
from service.cli.commands import app
from service.files.target import OutputError

UNWRITABLE = Path("/proc")
"""A folder that takes no new files, from root either."""

pytestmark = pytest.mark.skipif(not UNWRITABLE.is_dir(), reason="there is no /proc here")

COMMANDS = (
    ("score sentiment {data}/validation.jsonl --package {package} -o", "x.csv", "-o"),
    ("explain sentiment good --package {package} --html", "x.html", "--html"),
    ("attack {package} --data {data} --part validation -o", "x.jsonl", "-o"),
    ("attack {package} --data {data} --part validation --json", "x.json", "--json"),
)


def _refusal(command: str, target: Path, **known: Path) -> str:
    ran = CliRunner().invoke(app, [*command.format(**known).split(), str(target)])
    assert isinstance(ran.exception, NotWritable), ran.output
    return str(ran.exception)


@pytest.mark.parametrize(("command", "name", "option"), COMMANDS)
def test_a_file_is_refused(command: str, name: str, option: str, package: Path, tmp_path: Path) -> None:
    known = {"package": package, "data": tmp_path}
    (tmp_path / "validation.jsonl").write_text('{"text": "good", "label": "positive"}\n')
    inside = UNWRITABLE / name
    assert _refusal(command, inside, **known) == (
        f"{inside}: the folder /proc cannot be written to; choose another with {option}"
    )
    lost = tmp_path / "nowhere" / name
    assert _refusal(command, lost, **known).startswith(f"{lost}: there is no folder {tmp_path}/nowhere; ")
    (tmp_path / name).mkdir()
    assert _refusal(command, tmp_path / name, **known) == (
        f"{tmp_path / name}: is a folder; name a file in it with {option}"
    )
    assert {path.name for path in tmp_path.iterdir()} == {"validation.jsonl", name}


@pytest.mark.parametrize(("command", "name", "option"), COMMANDS)
def test_what_a_file_would_take_the_place_of_is_refused(
    command: str, name: str, option: str, package: Path, tmp_path: Path
) -> None:
    known = {"package": package, "data": tmp_path}
    (tmp_path / "validation.jsonl").write_text('{"text": "good", "label": "positive"}\n')
    target, link, pipe = tmp_path / "elsewhere", tmp_path / f"link-{name}", tmp_path / f"pipe-{name}"
    target.write_text("kept")
    link.symlink_to(target)
    os.mkfifo(pipe)
    if option == "-o":
        command = command.replace(" -o", " --overwrite -o")
    assert _refusal(command, link, **known) == (
        f"{link}: is a link, and a file would take its place; name {target} with {option}"
    )
    assert _refusal(command, pipe, **known) == (
        f"{pipe}: is a device or a pipe, and a file would take its place; name a file with {option}"
    )
    assert (link.is_symlink(), pipe.is_fifo(), target.read_text()) == (True, True, "kept")


READING = (
    ("score sentiment {data}/validation.jsonl --package {package} -o {new}.csv --summary", "{data}/validation.jsonl"),
    ("score sentiment {data}/validation.jsonl --package {package} -o {new}.csv --overwrite --errors",
     "{data}/validation.jsonl"),
    ("score sentiment {data}/validation.jsonl --package {package} -o {new}.csv --summary", "{package}/package.json"),
    ("score sentiment {data}/validation.jsonl --package {package} --overwrite -o", "{package}/new.csv"),
    ("score sentiment {data}/validation.jsonl --package {package} --overwrite -o", "{package}/new/"),
    ("explain sentiment good --package {package} --html", "{package}/page.html"),
    ("attack {package} --data {data} --part validation --overwrite -o", "{data}/validation.jsonl"),
    ("attack {package} --data {data} --part validation --json", "{data}/validation.jsonl"),
    ("attack {package} --data {data} --part validation --json", "{package}/package.json"),
    ("attack {package} --data {data} --part validation -o {new}.jsonl --json", "{new}.jsonl"),
)  # fmt: skip


@pytest.mark.parametrize(("command", "name"), READING)
def test_what_a_command_reads_or_writes_already_is_refused(
    command: str, name: str, package: Path, tmp_path: Path
) -> None:
    (tmp_path / "validation.jsonl").write_text('{"text": "good", "label": "positive"}\n')
    known = {"package": package, "data": tmp_path, "new": tmp_path / "new"}
    before = {path: path.read_bytes() for folder in (package, tmp_path) for path in folder.iterdir()}
    ran = CliRunner().invoke(app, [*command.format(**known).split(), name.format(**known)])
    assert isinstance(ran.exception, OutputError), ran.output
    assert str(ran.exception).endswith(f"; choose another name with {command.split()[-1]}")
    assert {path: path.read_bytes() for folder in (package, tmp_path) for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "command",
    [
        "train --task sentiment --data {data} --base x/y --method plain --out",
        "compare --task sentiment --data {data} --base x/y --methods plain --out",
        "export {data} -o",
    ],
)
def test_a_folder_is_refused(command: str, tmp_path: Path) -> None:
    folder = UNWRITABLE / "deep" / "down"
    said = _refusal(command, folder, data=tmp_path)
    assert said == f"{folder}: the folder /proc cannot be written to; choose another name"
    (tmp_path / "file").touch()
    assert _refusal(command, tmp_path / "file" / "below", data=tmp_path).endswith(
        f"{tmp_path}/file is a file, not a folder; choose another name"
    )
