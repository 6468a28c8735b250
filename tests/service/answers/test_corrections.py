"""Answers of a package that corrects texts: as for the corrected text, in the caller's words and offsets."""

import html
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from export.package import MANIFEST_FILE, file_digest, open_package
from models.correction.spelling import WORDS_FILE, KnownWords
from models.edits import find_family
from models.tasks.task import TextItem
from service.answers.contract import Options
from service.answers.highlights import MOST_NAMED, name_corrections
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import Pool
from tests.service.conftest import Server, steadfast
from tests.service.tiny import WORDS, reseal

WRITTEN = "\U0001f600 teh film was gre\u0430t, not aweful"
READ = "\U0001f600 the film was great, not awful"


@pytest.fixture(scope="module")
def correcting(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(package, tmp_path_factory.mktemp("correcting") / "tiny"))
    KnownWords([word for word in WORDS if word.isalpha()]).write(folder / WORDS_FILE)
    files = {path.name: file_digest(path) for path in folder.iterdir() if path.name != MANIFEST_FILE}
    reseal(folder, correction="words", files=files)
    return folder


@pytest.fixture(scope="module")
def corrector(correcting: Path) -> Iterator[Predictor]:
    with Pool(1) as pool, Predictor(open_package(correcting), EngineLimits(), pool) as predictor:
        yield predictor


def ask(predictor: Predictor, text: str, **options: Any) -> dict[str, Any]:
    answers = predictor.answer([TextItem(text=text)], Options.model_validate(options))
    result: dict[str, Any] = answers.results[0].model_dump(mode="json")
    return result


@pytest.mark.parametrize("method", ["attention", "decomposition", "occlusion"])
def test_the_answer_and_its_explanation_are_those_of_the_text_that_is_read(corrector: Predictor, method: str) -> None:
    written, read = (ask(corrector, text, explain=method) for text in (WRITTEN, READ))
    assert written["scores"] == read["scores"]
    assert "corrections" not in read
    explained = [written["explanation"]["items"], read["explanation"]["items"]]
    assert [item["score"] for item in explained[0]] == [item["score"] for item in explained[1]]
    assert [item["text"] for item in explained[0]] == [
        "\U0001f600", "teh", "film", "was", "gre\u0430t", ",", "not", "aweful",
    ]  # fmt: skip
    assert all(WRITTEN[item["start"] : item["end"]] == item["text"] for item in explained[0])


@pytest.mark.parametrize(("unit", "width"), [("codepoint", 1), ("utf16", 2), ("byte", 4)])
def test_corrections_are_in_the_callers_offsets(corrector: Predictor, unit: str, width: int) -> None:
    wider = width == 4  # the Cyrillic letter has two bytes
    found = ask(corrector, WRITTEN, offset_unit=unit)["corrections"]
    assert [(one["field"], one["start"], one["end"], one["to"]) for one in found] == [
        ("text", width + 1, width + 4, "the"),
        ("text", width + 17, width + 18 + wider, "a"),
        ("text", width + 25 + wider, width + 31 + wider, "awful"),
    ]


def test_over_http_only_corrected_texts_have_corrections(start_server: Callable[..., Server], correcting: Path) -> None:
    results = start_server(correcting).ask(inputs=[WRITTEN, READ]).json()["results"]
    assert [one["to"] for one in results[0]["corrections"]] == ["the", "a", "awful"]
    assert "corrections" not in results[1]
    assert results[0]["scores"] == results[1]["scores"]


def test_scored_files_have_a_column_of_corrections(correcting: Path, package: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text(f"text\n{WRITTEN.replace(',', '')}\ngood film\n", encoding="utf-8")
    for folder in (correcting, package):
        done = steadfast(
            "score", "sentiment", tmp_path / "texts.csv", "-o", tmp_path / f"{folder.parent.name}.parquet",
            "--package", folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    scored = pq.read_table(tmp_path / f"{correcting.parent.name}.parquet").to_pylist()
    assert [one["to"] for one in scored[0]["corrections"]] == ["the", "a", "awful"]
    assert not scored[1]["corrections"]
    assert "corrections" not in pq.read_table(tmp_path / f"{package.parent.name}.parquet").column_names


def test_a_certificate_reads_edits_corrected_and_computes_each_reading_once(
    corrector: Predictor, handed_in: list[tuple[int, bool]]
) -> None:
    text = "the awful film was great"
    certificate = ask(corrector, text, certify="typos")["certificate"]
    computed = sum(rows for rows, is_background in handed_in if is_background)
    assert 0 < computed < certificate["edits"] / 2
    assert certificate["tried"] == certificate["edits"]
    label = ask(corrector, text)["label"]
    edits = [
        text[: span.start] + word + text[span.end :]
        for span in find_family("typos").spans(text)
        for word in find_family("typos").candidates(text, span)
    ]
    assert len(edits) == certificate["edits"]
    assert certificate["holds"] == all(ask(corrector, edit)["label"] == label for edit in edits)


def test_the_terminal_and_the_page_say_what_was_read_otherwise(correcting: Path, tmp_path: Path) -> None:
    told = '"teh" as "the", "<U+200B>" as nothing, "\u0430<U+0430>" as "a"'
    texts = ("teh fil\u200bm was gre\u0430t", "the film was great")
    shown = steadfast("predict", "sentiment", *texts, "--package", correcting).stdout.splitlines()
    assert [line for line in shown if line.startswith("read otherwise")] == [f"read otherwise: {told}"]
    assert shown.index(f"read otherwise: {told}") < shown.index(texts[1])
    page = tmp_path / "page.html"
    steadfast("explain", "sentiment", *texts, "--package", correcting, "--html", page)
    assert page.read_text(encoding="utf-8").count("Read otherwise: ") == 1
    assert f">{html.escape(told)}<" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("the fli\u200bm", '"fli<U+200B>m" as "film"'),
        ("gr\u0435ta", '"gr\u0435<U+0435>ta" as "great"'),
        ("the\u00a0film", '"<U+00A0>" as " "'),
        ("teh film, teh film", '"teh" as "the"'),
    ],
)
def test_a_piece_is_named_once_with_the_signs_that_nobody_sees(corrector: Predictor, text: str, told: str) -> None:
    item = TextItem(text=text)
    (result,) = corrector.answer([item], Options()).results
    assert name_corrections(item, result) == told


def test_of_many_corrections_the_first_are_named_and_the_others_counted(corrector: Predictor) -> None:
    spoilt = [f"film{letter}" for letter in "abcdefghjkpqrtu"]
    item = TextItem(text=" ".join(spoilt))
    (result,) = corrector.answer([item], Options()).results
    named = [f'"{word}" as "film"' for word in spoilt[:MOST_NAMED]]
    assert name_corrections(item, result) == ", ".join([*named, "3 more"])
