"""Attacks on a real package, in this process and over HTTP."""

import itertools
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.attack.outcomes import Outcome
from models.attack.settings import AttackSettings
from models.attack.subjects import load_subjects
from models.edits import find_family
from models.files.parts import DataError
from models.folders import NotWritable
from models.tasks.nli import NLI
from models.tasks.sentiment import SENTIMENT
from service.answers.contract import Options
from service.answers.predictor import Predictor
from service.attacks.adversaries import BadTarget, check_target, run_and_write
from service.attacks.run import ANY, Campaign, OtherAnswers
from service.attacks.similarity import NoSimilarity, measured_by
from service.attacks.victims import ServerFailed, Victim, package_victim, server_victim
from service.files.partial import PartialError
from tests.service.conftest import Server, free_port
from tests.service.tiny import LABELS

TEXTS = [
    ("the film was great", 1),
    ("Great great fine film", 1),
    ("boring film", 0),
    ("awful , not great", 0),
    ("was fine", 1),
    ("bad", 1),
    ("the boring awful film was fine", 0),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder, TEXTS)
    return folder


def write(folder: Path, rows: Sequence[tuple[str, int]]) -> None:
    lines = [json.dumps({"id": number, "text": text, "label": label}) for number, (text, label) in enumerate(rows)]
    (folder / "validation.jsonl").write_text("\n".join(lines) + "\n")


def campaign(victim: Victim, data: Path, *families: str, **bounds: Any) -> Campaign:
    attacks = [AttackSettings(family=family, **{"words": "1", **bounds}) for family in families or ("typos",)]
    subjects = load_subjects(str(data), "validation", victim.task, victim.outputs, attacks[0].fields, None)
    return Campaign(victim, subjects, attacks)


def labels(predictor: Predictor, texts: list[str]) -> list[str]:
    items = [SENTIMENT.item(text=text) for text in texts]
    return [result.label for result in predictor.answer(items, Options()).results]


def test_an_exhaustive_attack_tries_every_edit(predictor: Predictor, data: Path) -> None:
    family = find_family("typos")
    for (text, label), found in zip(
        TEXTS, campaign(package_victim(predictor), data, search="exhaustive").run(), strict=False
    ):
        if labels(predictor, [text]) != [LABELS[label]]:
            assert found.status == "wrong"
            continue
        edited = [
            text[: span.start] + word + text[span.end :]
            for span in family.spans(text)
            for word in family.candidates(text, span)
        ]
        fooling = [other for other in edited if labels(predictor, [other]) != [LABELS[label]]]
        assert (found.status == "fooled") == bool(fooling)


def test_a_record_is_called_by_its_number(predictor: Predictor, data: Path) -> None:
    found = list(campaign(package_victim(predictor), data).run())
    assert [(one.record, one.status) for one in found][5:] == [(6, "wrong"), (7, "fooled")]


def test_one_record_of_a_hundred_that_cannot_be_used_is_left_out(predictor: Predictor, tmp_path: Path) -> None:
    write(tmp_path, [("", 1), *[("bad", 0)] * 99])
    assert [one.source.record.number for one in campaign(package_victim(predictor), tmp_path).subjects] == [
        *range(2, 101)
    ]
    write(tmp_path, [("", 1), *[("bad", 0)] * 98])
    with pytest.raises(DataError, match="1 of 99 records cannot be used; the first is record 1: holds no words"):
        campaign(package_victim(predictor), tmp_path)


def test_a_server_is_attacked_as_its_package_is(predictor: Predictor, server: Server, data: Path) -> None:
    with server_victim(f"http://127.0.0.1:{server.port}/v1/sentiment/", None) as victim:
        assert (victim.name, victim.digest) == ("tiny", predictor.name.digest)
        over_http = list(campaign(victim, data, "typos", "unicode", words="2").run())
    assert over_http == list(campaign(package_victim(predictor), data, "typos", "unicode", words="2").run())


@pytest.fixture
def busy(server: Server) -> Iterator[tuple[int, list[int]]]:
    """The port of a proxy that is busy at every second request, and the statuses that it gave."""
    given: list[int] = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass_on()

        def do_POST(self) -> None:
            self._pass_on()

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {"Content-Type": "application/json", "Authorization": self.headers.get("Authorization", "")}
            real = httpx.request(
                self.command, f"http://127.0.0.1:{server.port}{self.path}", content=body, headers=headers
            )
            given.append(real.status_code if given and given[-1] == 429 else 429)
            self.send_response(given[-1])
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(real.content)

        def log_message(self, format: str, *arguments: object) -> None:
            del format, arguments

    with HTTPServer(("127.0.0.1", 0), Busy) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        yield proxy.server_port, given
        proxy.shutdown()
        thread.join()


def test_a_busy_server_is_asked_again(busy: tuple[int, list[int]]) -> None:
    port, given = busy
    with server_victim(f"http://127.0.0.1:{port}/v1/sentiment", "any key") as victim:
        items = [SENTIMENT.item(text=text) for text in ["good", "bad"] * 100]
        answers = victim.submit(items)()
    assert [answer.label for answer in answers] == ["positive", "negative"] * 100
    assert given.count(200) == 5
    assert given.count(429) == 5


def test_an_item_that_the_server_refuses_has_no_answer(server: Server) -> None:
    with server_victim(f"http://127.0.0.1:{server.port}/v1/sentiment", None) as victim:
        answers = victim.submit([SENTIMENT.item(text=text) for text in ("good", " ", "bad")])()
    assert [answer and answer.label for answer in answers] == ["positive", None, "negative"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:{port}", "not the address of a task; write it as"),
        ("http://127.0.0.1:{port}/v1/nli", "status 404"),
        ("http://127.0.0.1:{closed}/v1/sentiment", "is the server running there"),
    ],
)
def test_an_address_that_answers_no_task_is_refused(server: Server, address: str, said: str) -> None:
    url = address.format(port=server.port, closed=free_port())
    with pytest.raises(ServerFailed, match=said), server_victim(url, None):
        pass


def test_several_attacks_are_summed_up_together(predictor: Predictor, data: Path) -> None:
    made = campaign(package_victim(predictor), data, "typos", "unicode")
    figures = made.sum_up(list(made.run()))
    assert [one.attack for one in figures] == ["typos", "unicode", ANY]
    assert figures[2].under_attack <= min(figures[0].under_attack, figures[1].under_attack)
    assert figures[2].rows == figures[0].rows == 7


def test_an_attack_that_was_stopped_is_summed_up_as_far_as_it_got(predictor: Predictor, data: Path) -> None:
    made = campaign(package_victim(predictor), data, "typos", "unicode")
    assert [one.rows for one in made.sum_up(list(itertools.islice(made.run(), 10)))] == [7, 3, 3]
    assert made.sum_up([]) == []


def test_what_fools_a_package_fools_its_twin(predictor: Predictor, data: Path) -> None:
    victim = package_victim(predictor)
    made = campaign(victim, data)
    (figures,) = made.sum_up(list(made.run()), victim)
    assert figures.transfer == 1


def test_adversaries_are_a_part_of_data_that_fools(predictor: Predictor, data: Path) -> None:
    made = campaign(package_victim(predictor), data)
    kept: list[Outcome] = []
    run_and_write(made, {}, data / "found.jsonl", overwrite=False, keep=kept.append)
    fooled = [one for one in kept if one.status == "fooled"]
    assert fooled
    found = load_subjects(str(data), "found", SENTIMENT, made.victim.outputs, (), None)
    assert labels(predictor, [subject.item.text for subject in found]) == [  # type: ignore[attr-defined]
        LABELS[1 - subject.source.target] for subject in found
    ]
    for line, outcome in zip((data / "found.jsonl").read_text().splitlines(), fooled, strict=True):
        record = json.loads(line)
        assert record["id"] == outcome.record - 1
        original = record["attack"]["original"]["text"]
        ((start, end, new),) = [(edit["start"], edit["end"], edit["to"]) for edit in record["attack"]["edits"]]
        assert original[:start] + new + original[end:] == record["text"]
        assert record["attack"]["before"]["label"] != record["attack"]["after"]["label"]


def test_a_stopped_attack_goes_on_where_it_was(predictor: Predictor, data: Path, tmp_path: Path) -> None:
    made = campaign(package_victim(predictor), data, "typos", "unicode")
    whole, stopped = tmp_path / "whole.jsonl", tmp_path / "stopped.jsonl"
    every: list[Outcome] = []
    run_and_write(made, {}, whole, overwrite=False, keep=every.append)
    first: list[Outcome] = []

    def stop(outcome: Outcome) -> None:
        first.append(outcome)
        if len(first) == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_and_write(made, {}, stopped, overwrite=False, keep=stop)
    assert not stopped.exists()
    again: list[Outcome] = []
    run_and_write(made, {}, stopped, overwrite=False, keep=again.append)
    assert again == every
    assert stopped.read_bytes() == whole.read_bytes()


def test_a_stopped_attack_does_not_go_on_with_other_records(predictor: Predictor, data: Path, tmp_path: Path) -> None:
    target = tmp_path / "found.jsonl"

    def stop(_: Outcome) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_and_write(campaign(package_victim(predictor), data, "typos"), {}, target, overwrite=False, keep=stop)
    write(data, [("the film was not great", 1), *TEXTS[1:]])
    other, kept = campaign(package_victim(predictor), data, "typos"), list[Outcome]()
    with pytest.raises(PartialError, match="--overwrite"):
        run_and_write(other, {}, target, overwrite=False, keep=kept.append)
    assert not kept
    run_and_write(other, {}, target, overwrite=True, keep=kept.append)
    assert kept == list(other.run())


@pytest.mark.parametrize("change", [{"precision": "int8"}, {"max_unknown_share": 0.5}])
def test_a_stopped_attack_does_not_go_on_where_answers_are_others(
    predictor: Predictor, data: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    target, victim = tmp_path / "found.jsonl", package_victim(predictor)

    def stop(_: Outcome) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_and_write(campaign(victim, data, "typos"), {}, target, overwrite=False, keep=stop)
    other = campaign(replace(victim, **change), data, "typos")
    with pytest.raises(PartialError, match=f"with another {next(iter(change))}; give the same again"):
        run_and_write(other, {}, target, overwrite=False, keep=stop)


def test_a_twin_answers_as_the_attacked_does(predictor: Predictor, data: Path) -> None:
    victim = package_victim(predictor)
    attack = campaign(victim, data, "typos")
    attack.check_twin(victim)
    with pytest.raises(OtherAnswers, match="twin answers nli; name a twin for sentiment"):
        attack.check_twin(replace(victim, name="twin", task=NLI))
    with pytest.raises(OtherAnswers, match=f"twin never answers {LABELS[1]}; name a twin with the same labels"):
        attack.check_twin(replace(victim, name="twin", outputs=replace(victim.outputs, labels=LABELS[:1])))


@pytest.mark.parametrize(
    ("name", "said"),
    [("found.csv", "ends in .jsonl"), ("nowhere/found.jsonl", "there is no folder"), ("there.jsonl", "exists already")],
)
def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "there.jsonl").touch()
    with pytest.raises((BadTarget, NotWritable), match=said):
        check_target(tmp_path / name, overwrite=False)
    check_target(tmp_path / "there.jsonl", overwrite=True)


def test_only_a_package_for_similarity_measures_it(predictor: Predictor) -> None:
    with pytest.raises(NoSimilarity, match="tiny answers sentiment; similarity is measured by a package for sts"):
        measured_by(predictor)
