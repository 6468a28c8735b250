"""Certificates: whether any edit of one word changes an answer, found by trying each of them."""

import importlib.util
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.package import open_package
from models.edits import find_family
from models.edits.family import replace
from models.tasks import TASKS
from models.tasks.task import Item, TextItem
from models.text import Encoded, Row, Truncation
from models.words import Span
from service.answers import certifying
from service.answers.answers import Answers, PendingAnswers
from service.answers.certificate import Certificate
from service.answers.certifying import list_edits
from service.answers.contract import Options
from service.answers.errors import CertificateNotOffered, ItemsRejected
from service.answers.model import LoadedModel
from service.answers.predictor import Predictor
from service.engine.errors import Overloaded
from service.engine.limits import EngineLimits
from service.engine.model_engine import Engine
from service.engine.pool import Pool
from tests.service.tiny import OPINIONS
from tests.tiny import WORDNET, make_items

VOCABULARY = [*OPINIONS, "the", "film", "was", ",", "!", "É", "👩‍🚀"]


def ask(predictor: Predictor, *items: Any, **options: Any) -> Answers:
    read = [predictor.task.item.model_validate(item) for item in items]
    return predictor.answer(read, Options.model_validate({"certify": "typos", **options}))


def certify(predictor: Predictor, item: Any, **options: Any) -> Certificate:
    (result,) = ask(predictor, item, **options).results
    assert isinstance(result.certificate, Certificate)
    return result.certificate


def edited(predictor: Predictor, item: dict[str, Any], family: str, **options: Any) -> list[tuple[str, Span, str, Any]]:
    """Every edit of an item with the answer that it gets, each asked for by itself."""
    found = []
    edits = find_family(family)
    for field in predictor.task.edited_fields:
        for span in edits.spans(item[field]):
            for word in edits.candidates(item[field], span):
                changed = {**item, field: replace(item[field], span, word)}
                read = predictor.task.item.model_validate(changed)
                (result,) = predictor.answer([read], Options.model_validate(options)).results
                found.append((field, span, word, result))
    return found


def expect(predictor: Predictor, item: dict[str, Any], family: str, before: Any) -> Certificate:
    """The certificate by the definition."""
    tried = edited(predictor, item, family)
    changing = [one for one in tried if predictor.task.changed(before, one[3])]
    first: dict[str, Any] | None = None
    if changing:
        field, span, word, after = changing[0]
        first = {
            "field": field,
            "text": item[field][slice(*span)],
            "start": span.start,
            "end": span.end,
            "replacement": word,
            "answer": "; ".join(after.headlines()),
        }
    return Certificate.model_validate(
        {
            "family": family,
            "edits": len(tried),
            "tried": len(tried),
            "holds": not changing,
            "counterexample": first,
        }
    )


@settings(deadline=None, max_examples=12)
@given(st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=6))
def test_a_certificate_says_what_asking_for_each_edit_says(predictor: Predictor, words: list[str]) -> None:
    item = {"text": " ".join(words)}
    (result,) = ask(predictor, item).results
    assert result.certificate == expect(predictor, item, "typos", result)


@pytest.mark.parametrize("task", sorted(TASKS.keys() - {"sentiment"}))
def test_every_task_is_certified(opened: Callable[[str], Predictor], task: str) -> None:
    predictor = opened(task)
    (item,) = make_items(task, 1)
    if "question" in item:
        item["question"] = "what was good?"
    (result,) = ask(predictor, item).results
    assert result.certificate == expect(predictor, item, "typos", result)
    assert result.certificate.edits > 0


def test_an_answer_that_one_typo_turns_has_no_certificate(predictor: Predictor) -> None:
    certificate = certify(predictor, "good bad boring")
    assert not certificate.holds
    assert certificate.counterexample is not None
    assert certificate.counterexample.model_dump(exclude={"replacement", "answer"}) == {
        "field": "text",
        "text": "boring",
        "start": 9,
        "end": 15,
    }
    assert certificate.counterexample.answer.startswith("positive  ")


def test_an_answer_that_rests_on_several_words_is_certified(predictor: Predictor) -> None:
    certificate = certify(predictor, "great good fine")
    assert (certificate.holds, certificate.counterexample) == (True, None)


def test_where_nothing_can_be_edited_the_answer_holds(predictor: Predictor) -> None:
    assert certify(predictor, "bad !") == Certificate(family="typos", edits=0, tried=0, holds=True, counterexample=None)


def test_synonyms_are_tried_where_wordnet_is(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(WORDNET))
    item = {"text": "the film was fine"}
    (result,) = ask(predictor, item, certify="synonyms").results
    assert result.certificate == expect(predictor, item, "synonyms", result)
    assert result.certificate.edits > 0


def test_without_wordnet_synonyms_are_refused_with_what_to_install(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))
    with pytest.raises(CertificateNotOffered, match="install the Debian package wordnet-base"):
        ask(predictor, "good", certify="synonyms")


def test_without_a_tagger_synonyms_are_refused_with_what_to_install(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "textblob" else find(name))
    with pytest.raises(CertificateNotOffered, match=r"^textblob not installed .* pip install -e '\.\[synonyms\]'"):
        ask(predictor, "good", certify="synonyms")
    assert certify(predictor, "bad").holds


def test_offsets_are_in_the_unit_of_the_request(predictor: Predictor) -> None:
    found = [certify(predictor, "👩‍🚀 boring", offset_unit=unit) for unit in ("codepoint", "utf16", "byte")]
    assert [one.counterexample and one.counterexample.start for one in found] == [4, 6, 12]


def test_a_text_that_just_fits_is_certified_although_typos_make_it_longer(predictor: Predictor) -> None:
    text = "bad " * 29 + "film"  # with [CLS] and [SEP] as long as a row
    certificate = certify(predictor, text, truncation="error")
    assert certificate == certify(predictor, text, truncation="window")
    assert certificate.tried == certificate.edits == len(edited_words("film"))


def test_of_a_text_that_is_cut_each_edit_is_cut_too(predictor: Predictor) -> None:
    text = "film bad " + "bad " * 27 + "great good"
    (result,) = ask(predictor, text, truncation="right").results
    tried = edited(predictor, {"text": text}, "typos", truncation="right")
    changing = [word for _, _, word, after in tried if after.label != result.label]
    assert result.truncated
    found = result.certificate.counterexample
    assert (found and found.replacement) == (changing[0] if changing else None)


def test_certificates_that_take_too_long_are_missing_and_their_answers_are_not(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if so much of the time had gone.
    monkeypatch.setattr("service.answers.predictor.LEFT_TO_ANSWER", 1.5)
    items = [TextItem(text=text) for text in ("film", "good film", "bad !")]
    read: list[Item] = []
    encode = LoadedModel.encode

    def note(model: LoadedModel, item: Item, truncation: Truncation) -> Encoded:
        read.append(item)
        return encode(model, item, truncation)

    monkeypatch.setattr(LoadedModel, "encode", note)
    answers = predictor.submit(items, Options(certify="typos"), deadline=time.monotonic() + 60).result()
    assert read == items
    assert [result.label for result in answers.results] == [
        result.label for result in predictor.answer(items, Options()).results
    ]
    assert [result.certificate is None for result in answers.results] == [True, True, False]
    assert [(one.index, "allow more time" in str(one.reason)) for one in answers.uncertified] == [(0, True), (1, True)]


def test_edits_are_bounded_by_the_rows_that_they_take(package: Path) -> None:
    count = len(edited_words("good film"))
    texts = ["good film", "good film good film", "bad", "bad " * 60]
    with (
        Pool(1) as pool,
        Predictor(open_package(package), EngineLimits(), pool, max_certify_rows=count) as predictor,
    ):
        answers = ask(predictor, *texts)
    assert [result.certificate is None for result in answers.results] == [False, True, False, False]
    assert [(one.index, str(one.reason)) for one in answers.uncertified] == [
        (
            1,
            f"more than {count} edits to try; at most {count} rows are computed for a certificate: shorten the text",
        )
    ]


def edited_words(text: str) -> list[str]:
    family = find_family("typos")
    return [word for span in family.spans(text) for word in family.candidates(text, span)]


def test_an_input_in_several_windows_counts_each(package: Path) -> None:
    text = "bad " * 60 + "film"
    with Pool(1) as pool, Predictor(open_package(package), EngineLimits(), pool, max_certify_rows=100) as predictor:
        answers = ask(predictor, text)
    (windows,) = (result.windows for result in answers.results)
    assert windows > 1
    assert f"more than {100 // windows} edits to try, each of {windows} rows" in str(answers.uncertified[0].reason)


def test_an_explanation_and_a_certificate_can_be_asked_for_together(predictor: Predictor) -> None:
    (result,) = ask(predictor, "great film", explain="occlusion").results
    (explained,) = predictor.answer(
        [TextItem(text="great film")], Options.model_validate({"explain": "occlusion"})
    ).results
    assert result.explanation == explained.explanation
    assert result.certificate == certify(predictor, "great film")


def test_edits_are_tried_in_the_background_in_small_parts(
    predictor: Predictor, handed_in: list[tuple[int, bool]]
) -> None:
    certificates = [certify(predictor, text) for text in ("good film", "bad")]
    first, *parts, last = handed_in
    assert (first, last) == ((1, False), (1, False))
    assert {is_background for _, is_background in parts} == {True}
    # Of each chunk, edits that are read alike are computed once.
    reader = predictor.package.reader()
    edits = list_edits(predictor.task, TextItem(text="good film"), find_family("typos"))
    texts = [replace("good film", edit.span, edit.replacement) for edit in edits]
    assert len(texts) == certificates[0].edits > certifying.CHUNK_ROWS
    chunks = [texts[start : start + certifying.CHUNK_ROWS] for start in range(0, len(texts), certifying.CHUNK_ROWS)]
    readings = [{tuple(row.ids) for text in chunk for row in reader.read(text).rows} for chunk in chunks]
    assert [rows for rows, _ in parts] == [len(different) for different in readings]


def test_while_the_background_is_overfull_nothing_is_begun(
    predictor: Predictor, handed_in: list[tuple[int, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Engine, __: str) -> None:
        raise Overloaded("9 rows are waiting already", 1)

    monkeypatch.setattr(Engine, "refuse_background_overload", refuse)
    with pytest.raises(Overloaded):
        ask(predictor, "good film")
    assert handed_in == []


def test_a_certificate_that_nobody_waits_for_is_not_gone_on_with(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending: Future[PendingAnswers] = Future()
    submit, asked = Engine.submit, list[int]()

    def cancel_in_the_second_part(engine: Engine, rows: Sequence[Row], *outputs: Any, **options: Any) -> Any:
        asked.append(len(rows))
        future = submit(engine, rows, *outputs, **options)
        if len(asked) == 3:
            pending.result(30).future.cancel()
        return future

    monkeypatch.setattr(Engine, "submit", cancel_in_the_second_part)
    pending.set_result(predictor.submit([TextItem(text="great film " * 4)], Options(certify="typos")))
    with pytest.raises(CancelledError):
        pending.result().result()
    assert asked == [1, 128, 128]


def test_a_text_that_cannot_be_read_is_rejected_as_without_a_certificate(predictor: Predictor) -> None:
    with pytest.raises(ItemsRejected):
        ask(predictor, " ")
