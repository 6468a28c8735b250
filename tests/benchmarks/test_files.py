"""The run over a long file is judged by what came out, and notices what did not."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from benchmarks.bare import Bare, measure
from benchmarks.files import claims, main, report
from benchmarks.watched import Look, NoLooks, Run
from models.machine import available_cores
from service.files.target import Target
from tests.service.tiny import build_package

RECORDS = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def package(folder: Path) -> Path:
    return build_package(folder / "tiny")


@pytest.fixture(scope="module")
def lines(folder: Path, package: Path) -> list[str]:
    return list(report(package, RECORDS, folder))


def looks(*memory_mb: float, cpu_s: float = 2.0, wall_s: float = 1.0, part: int = 0) -> Run:
    """A run that was looked at in the middle of each tenth."""
    return Run(tuple(Look(part, place / 10 + 0.05, one, cpu_s, wall_s) for place, one in enumerate(memory_mb)))


def test_every_claim_is_printed_with_its_verdict(lines: list[str]) -> None:
    said = "\n".join(lines)
    assert f"met      no record lost: {RECORDS} in, {RECORDS} out, {RECORDS} of them answered" in said
    assert "met      42 of 42 columns of the input are equal to the bit" in said
    assert all(f"  {name}: " in said for name in ("memory", "CPU time a record", "busy cores")), said


@pytest.mark.usefixtures("lines")
def test_a_column_that_changed_and_a_record_that_is_gone_are_noticed(
    folder: Path, package: Path, tmp_path: Path
) -> None:
    source, target = folder / f"{RECORDS}.parquet", tmp_path / "out.parquet"
    made = Target(str(folder / f"{RECORDS}.out.parquet"))
    shutil.copy(made.record, Target(str(target)).record)
    bare, run = measure(package, ["good film"]), looks(*[300.0] * 10)
    table = parquet.read_table(made.path)
    place = table.schema.get_field_index("float64")
    # 0 is equal to -0, but not to the bit.
    changed = pa.array([0.0 if value == 0 else value for value in table["float64"].to_pylist()])
    parquet.write_table(table.set_column(place, table.schema.field(place), changed), target)
    said = [str(claim) for claim in claims(run, run, (bare, bare), source, target)]
    assert said[1] == "  NOT met  41 of 42 columns of the input are equal to the bit; not float64"
    parquet.write_table(table.slice(1), target)
    said = [str(claim) for claim in claims(run, run, (bare, bare), source, target)]
    assert said[0] == f"  NOT met  no record lost: {RECORDS} in, {RECORDS - 1} out, {RECORDS} of them answered"


@pytest.mark.usefixtures("lines")
def test_memory_that_is_not_flat_idle_cores_and_costly_records_are_noticed(folder: Path) -> None:
    source, target = folder / f"{RECORDS}.parquet", folder / f"{RECORDS}.out.parquet"
    begun, bare = looks(300.0, cpu_s=1.0), Bare(tokens=(9,), reading_s=0.1, graph_s=0.9)

    def verdicts(last_mb: float, *written_mb: float, record_s: float = 1.0, busy: float = 1.0) -> list[bool]:
        cpu_s = 1.0 + record_s * (RECORDS - 1)
        run = looks(*[300.0] * 9, last_mb, *written_mb, cpu_s=cpu_s, wall_s=cpu_s / available_cores() / busy)
        return [claim.is_met for claim in claims(run, begun, (bare, bare), source, target)][2:]

    assert verdicts(300.0) == [True, True, True]
    assert verdicts(314.0) == [True, True, True]
    assert verdicts(316.0) == verdicts(284.0) == [False, True, True]
    assert verdicts(300.0, 200.0, 420.0) == [True, True, True]
    assert verdicts(300.0, 316.0) == [False, True, True]
    assert verdicts(300.0, record_s=1.07) == [True, True, True]
    assert verdicts(300.0, record_s=1.09) == [True, False, True]
    assert verdicts(300.0, busy=0.91) == [True, True, False]


def test_time_and_memory_of_all_parts_count() -> None:
    first, second = looks(100.0, 100.0, cpu_s=3.0, wall_s=2.0), looks(200.0, cpu_s=4.0, wall_s=5.0, part=1)
    run = Run((*first.looks, *second.looks))
    assert (run.cpu_s, run.wall_s) == (7.0, 7.0)
    assert run.mean_memory(0.0, 0.1) == 150.0
    assert run.mean_memory(0.9, 1.0) is None


def test_the_bare_graph_reads_every_text_whole(package: Path) -> None:
    # A row of the package has 32 tokens; the windows of a longer text overlap.
    bare = measure(package, ["good film", "good film " * 100, "bad"])
    assert sorted(bare.tokens)[:2] == [3, 4]
    assert max(bare.tokens) > 200
    assert bare.text_s > 0


@pytest.mark.parametrize("found", [None, "", "{", '{"part": 0}'])
def test_looks_that_are_missing_or_damaged_are_one_sentence(tmp_path: Path, found: str | None) -> None:
    if found is not None:
        (tmp_path / "9.looks").write_text(found)
    with pytest.raises(NoLooks, match=r"9\.looks: missing or damaged, .*; remove the files of that run, or name"):
        Run.read(tmp_path / "9.looks")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--folder", "{folder}/nowhere"), "no such folder; make it first"),
        (("--folder", "{folder}", "--records", "1", "--package", "{folder}"), "package.json: missing"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["files", *(one.format(folder=tmp_path) for one in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert said in f"{ended.value.code} {capsys.readouterr().err}"
