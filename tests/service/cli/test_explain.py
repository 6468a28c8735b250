"""`steadfast explain`: a page that needs nothing else, or what `predict` prints."""

import re
from pathlib import Path

import pytest

from export.package import open_package
from tests.service.conftest import steadfast
from tests.service.pages.parsed import parse

TEXTS = ("great but <b>boring</b>", "the film was awful")


@pytest.fixture(scope="module")
def written(package: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of two texts, written over an older one."""
    target = tmp_path_factory.mktemp("pages") / "page.html"
    target.write_text("an older page")
    (target.parent / "page.tmp").write_text("somebody's")
    completed = steadfast("explain", "sentiment", *TEXTS, "--html", target, "--package", package)
    assert (completed.returncode, completed.stdout, completed.stderr) == (0, "", f"wrote {target}\n")
    assert {path.name for path in target.parent.iterdir()} == {"page.html", "page.tmp"}
    return target.read_text(encoding="utf-8")


def test_one_page_holds_every_text_and_the_model(written: str, package: Path) -> None:
    root, _ = parse(written.removeprefix("<!DOCTYPE html>"))
    assert [one.text() for one in root.find("p", "text")] == list(TEXTS)
    assert [one.text() for one in root.find("h2")] == ["positive  0.988", "negative  0.997"]
    manifest = open_package(package).manifest
    assert f"Model tiny (plain, fp32), digest {manifest.digest[:12]}" in written
    assert written.count("Explained by") == 1


def test_a_page_loads_and_runs_nothing(written: str) -> None:
    _, elements = parse(written.removeprefix("<!DOCTYPE html>"))
    assert not {"script", "link", "img", "iframe", "object"} & {element.tag for element in elements}
    assert not {"src", "href", "style"} & {name for element in elements for name in element.attributes}
    assert not re.search(r"url\(|@import|https?:", written)
    assert "default-src 'none'" in written


def test_a_page_suits_phones_and_dark_rooms(written: str) -> None:
    assert "width=device-width" in written
    assert "prefers-color-scheme: dark" in written


def test_without_a_page_it_prints_what_predict_prints(package: Path) -> None:
    predicted = steadfast("predict", "sentiment", *TEXTS, "--explain", "occlusion", "--package", package)
    explained = steadfast("explain", "sentiment", *TEXTS, "--method", "occlusion", "--package", package)
    assert (explained.stdout, explained.returncode) == (predicted.stdout, 0)


def test_another_answer_can_be_explained(package: Path) -> None:
    shown = steadfast("explain", "sentiment", "great film", "--target", "negative", "--package", package).stdout
    assert "decomposition for negative: great -6.00" in shown
    refused = steadfast("explain", "sentiment", "great film", "--target", "1", "--package", package)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "name one, case counts: 'negative', 'positive'" in refused.stderr


def test_an_answer_with_too_much_to_explain_says_so_on_the_page(package: Path, tmp_path: Path) -> None:
    command = ("explain", "sentiment", "good", "great " * 129, "--method", "occlusion", "--package", package)
    assert steadfast(*command, "--html", tmp_path / "page.html").returncode == 0
    root, _ = parse((tmp_path / "page.html").read_text().removeprefix("<!DOCTYPE html>"))
    assert [one.text() for one in root.find("p", "note")] == [
        "Not explained: 129 words to leave out in turn; at most 128 are: shorten the text"
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("notes.md", "notes.md: a page's name ends in .html; choose another name with --html"),
        ("folder.html", "folder.html: is a folder; name a file in it with --html"),
        (
            "nowhere/page.html",
            "nowhere/page.html: there is no folder {folder}/nowhere; make it, or choose another with --html",
        ),
    ],
)
def test_a_name_that_no_page_can_have_is_refused_first(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "folder.html").mkdir()
    completed = steadfast("explain", "sentiment", "good", "--html", tmp_path / name, "--package", "nowhere")
    assert completed.returncode == 2
    assert completed.stderr == f"steadfast: {tmp_path}/{said.format(folder=tmp_path)}\n"
