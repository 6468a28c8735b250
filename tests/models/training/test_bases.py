"""Trainings that start from a new BiLSTM, from one that was saved, or from a model of another task."""

import gzip
import math
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.checkpoint import read_record
from models.methods import METHODS
from models.networks.encoder import Encoder, EncoderError
from models.networks.loading import load_encoder, open_trained_model
from models.networks.vocabulary import VectorsError
from models.tasks import find_task
from models.training.bases import open_base
from models.training.interruption import Interrupted
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import TrainingError, TrainingSettings, check_settings
from tests.models.passes import make_batch, make_encoder
from tests.models.runs import same_weights
from tests.tiny import make_tokenizer, write_examples

REFUSED = ("asa", "afa", "ssa-co", "ssa-hybrid", "cline")
TABLE = "bilstm.embeddings.word_embeddings.weight"


def _settings(data: Path, **changed: Any) -> TrainingSettings:
    given: dict[str, Any] = {
        "task": "sentiment", "base": "bilstm", "bilstm": {"word_width": 8, "state_width": 6},
        "source": {"data": str(data)}, "epochs": 2, "batch_size": 16, "learning_rate": 1e-2, "max_tokens": 32,
        "precision": "fp32", "save_every": 4, "seed": 3,
    }  # fmt: skip
    return check_settings(given | changed)


def _watch(stop_at: int = 0) -> Watcher:
    def advance(step: int, *_: object) -> None:
        if step == stop_at:
            signal.raise_signal(signal.SIGINT)

    return Watcher(say=lambda _: None, advance=advance)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bilstm") / "checkpoint"
    train(_settings(data, epochs=12, learning_rate=3e-2), out, _watch())
    return out


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_examples(tmp_path_factory.mktemp("pairs"), "nli", train=48)


def _choice_settings(base: Path) -> TrainingSettings:
    return check_settings({"task": "reading-comprehension", "base": str(base), "source": {"data": "nowhere"}})


def _save_nli(base: Path, folder: Path, *labels: str) -> Encoder:
    shutil.copytree(base, folder)
    encoder = load_encoder(base, "sequence-classification", labels)
    torch.nn.init.normal_(encoder.model.classifier.bias)
    encoder.model.save_pretrained(folder)
    return encoder.eval()


def _start(folder: Path) -> Encoder:
    settings = _choice_settings(folder)
    return open_base(settings, find_task(settings.task)).make_encoder()[0].eval()


@pytest.mark.parametrize("entailment", ["Entailment", "entails"])
def test_from_an_nli_model_choices_are_scored_by_entailment_less_contradiction(
    entailment: str, base: Path, tmp_path: Path
) -> None:
    nli = _save_nli(base, tmp_path / "nli", "contradiction", "neutral", entailment)
    batch = make_batch()
    expected = nli(batch).logits
    scores = _start(tmp_path / "nli")(batch).logits
    torch.testing.assert_close(scores[:, 0], expected[:, 2] - expected[:, 0])


def test_from_a_model_of_other_labels_choices_get_a_new_head(base: Path, tmp_path: Path) -> None:
    other = _save_nli(base, tmp_path / "other", "a", "b", "c")
    head = _start(tmp_path / "other").model.classifier
    assert head.weight.shape == (1, other.width)
    assert head.bias.item() == 0


def test_a_base_that_has_lost_its_nli_head_is_no_judge(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pretrained"
    shutil.copytree(base, folder)
    model = load_encoder(base, "masked-language-model", ()).model
    model.config.id2label = {0: "entailment", 1: "neutral", 2: "contradiction"}
    model.save_pretrained(folder)
    assert _start(folder).model.classifier.bias.item() == 0


def test_of_an_nli_model_whose_head_reads_otherwise_choices_get_a_new_head(tmp_path: Path) -> None:
    nli = make_encoder("roberta").model
    tokenizer = make_tokenizer()
    nli.resize_token_embeddings(len(tokenizer))
    nli.config.id2label = {0: "entailment", 1: "neutral", 2: "contradiction"}
    nli.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert _start(tmp_path).model.classifier.bias.item() == 0


def test_a_base_with_a_tokenizer_of_another_model_is_refused(base: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "base"))
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["ferry"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(
        EncoderError, match=r"its tokenizer has tokens up to \d+, and its model embeddings for \d+; they"
    ):
        open_base(_choice_settings(folder), find_task("reading-comprehension"))


def test_it_learns_the_words_that_decide(trained: Path) -> None:
    assert read_record(trained).metrics["accuracy"] > 0.9


def test_its_vocabulary_is_the_training_datas_own(trained: Path) -> None:
    evaluated = open_trained_model(trained)
    assert 1 not in evaluated.reader.read("a GOOD film").rows[0].ids
    assert evaluated.reader.read("unheard").rows[0].ids == [1]
    assert not load_file(trained / "model.safetensors")[TABLE][:2].any()


def test_words_in_too_few_rows_are_unknown(data: Path, trained: Path, tmp_path: Path) -> None:
    given = {"word_width": 8, "state_width": 6, "min_documents": 40}
    train(_settings(data, bilstm=given, epochs=1), tmp_path / "out", _watch())
    few, all_words = (load_file(folder / "model.safetensors")[TABLE] for folder in (tmp_path / "out", trained))
    assert 2 < len(few) < len(all_words)
    assert few[1].any()  # met in training, and so learnt
    assert read_record(tmp_path / "out").settings["bilstm"]["min_documents"] == 40


def test_words_of_rows_that_are_not_trained_on_are_unknown(data: Path, trained: Path, tmp_path: Path) -> None:
    train(_settings(data, rows=4, epochs=1), tmp_path / "out", _watch())
    few, all_words = (load_file(folder / "model.safetensors")[TABLE] for folder in (tmp_path / "out", trained))
    assert 2 < len(few) < len(all_words)


@pytest.mark.parametrize("task", ["sentiment", "nli"])
@pytest.mark.parametrize("at", [2, 5])
def test_stopped_and_started_again_the_weights_are_those_of_an_uninterrupted_run(
    task: str, at: int, data: Path, pairs: Path, tmp_path: Path
) -> None:
    settings = _settings({"sentiment": data, "nli": pairs}[task], task=task)
    train(settings, tmp_path / "whole", _watch())
    with pytest.raises(Interrupted):
        train(settings, tmp_path / "out", _watch(at))
    train(settings, tmp_path / "out", _watch())
    assert same_weights(tmp_path / "out", tmp_path / "whole")
    assert read_record(tmp_path / "out").epochs == read_record(tmp_path / "whole").epochs


def test_word_vectors_are_where_training_starts_and_are_recorded(data: Path, tmp_path: Path) -> None:
    vectors = tmp_path / "wiki.vec"
    vectors.write_text("2 8\ngood 1 2 3 4 5 6 7 8\nabsent 1 2 3 4 5 6 7 8\n")
    given = {"word_width": 8, "state_width": 6, "vectors": str(vectors)}
    train(_settings(data, bilstm=given, epochs=1, learning_rate=1e-9), tmp_path / "out", _watch())
    (number,) = open_trained_model(tmp_path / "out").reader.read("good").rows[0].ids
    table = load_file(tmp_path / "out" / "model.safetensors")[TABLE]
    # The learning rate moves next to nothing.
    torch.testing.assert_close(table[number], torch.arange(1.0, 9.0))
    (file,) = [file for file in read_record(tmp_path / "out").data if file.part == "vectors"]
    assert (file.name, file.rows) == ("wiki.vec", 1)


def test_a_run_does_not_go_on_with_other_vectors(data: Path, tmp_path: Path) -> None:
    vectors = tmp_path / "wiki.vec"
    vectors.write_text("good 1 2 3 4 5 6 7 8\n")
    settings = _settings(data, bilstm={"word_width": 8, "vectors": str(vectors)})
    with pytest.raises(Interrupted):
        train(settings, tmp_path / "out", _watch(2))
    vectors.write_text("good 8 7 6 5 4 3 2 1\n")
    with pytest.raises(TrainingError, match="begun with other data"):
        train(settings, tmp_path / "out", _watch())


def test_a_run_does_not_go_on_with_data_that_hold_another_word(data: Path, tmp_path: Path) -> None:
    """A word more is a vector more, so that the saved weights would not fit either."""
    changing = shutil.copytree(data, tmp_path / "data")
    with pytest.raises(Interrupted):
        train(_settings(changing), tmp_path / "out", _watch(2))
    with gzip.open(changing / "train.jsonl.gz", "at") as file:
        file.write('{"text": "an unheard word", "label": "positive"}\n')
    with pytest.raises(TrainingError, match=r"begun with other data \(train\); go on with the same, or remove"):
        train(_settings(changing), tmp_path / "out", _watch())


def test_vectors_of_another_width_are_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "wiki.vec").write_text("good 1 2 3\n")
    with pytest.raises(VectorsError, match=r"line 1 has not 300 numbers; set bilstm\.word_width"):
        train(_settings(data, bilstm={"vectors": str(tmp_path / "wiki.vec")}), tmp_path / "out", _watch())


def test_a_saved_one_is_a_base_with_its_own_words(trained: Path, data: Path, tmp_path: Path) -> None:
    settings = _settings(data, base=str(trained), bilstm=None, epochs=1, learning_rate=1e-9)
    record = train(settings, tmp_path / "out", _watch())
    assert record.metrics == read_record(trained).metrics  # the learning rate moves next to nothing
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (trained / "tokenizer.json").read_bytes()


def test_one_for_single_texts_reads_no_pairs(trained: Path, tmp_path: Path) -> None:
    data = write_examples(tmp_path / "data", "paraphrase")
    message = "a BiLSTM for single texts, which paraphrase has not; start from base 'bilstm'"
    with pytest.raises(TrainingError, match=message):
        train(_settings(data, task="paraphrase", base=str(trained), bilstm=None), tmp_path / "out", _watch())


@pytest.mark.parametrize("task", ["ner", "reading-comprehension", "extractive-reading-comprehension", "masked-words"])
def test_tasks_that_it_cannot_answer_are_refused_before_anything_starts(task: str, data: Path) -> None:
    message = f"settings: base: bilstm cannot answer {task}; it can: sentiment, nli, sts, paraphrase"
    with pytest.raises(TrainingError, match=message):
        _settings(data, task=task)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"base": "elsewhere"}, "settings: bilstm: is for a new BiLSTM; leave it out, or set base to 'bilstm'"),
        ({"bilstm": {"min_documents": 0}}, "bilstm.min_documents: must be more than 0"),
        ({"bilstm": {"width": 3}}, "bilstm.width: is not known here"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changed: dict[str, Any], message: str, data: Path) -> None:
    with pytest.raises(TrainingError, match=message):
        _settings(data, **changed)


def test_a_saved_one_is_not_pre_trained(trained: Path, data: Path, tmp_path: Path) -> None:
    settings = _settings(data, task="masked-words", base=str(trained), bilstm=None)
    with pytest.raises(EncoderError, match="a BiLSTM, which cannot have the head masked-language-model"):
        train(settings, tmp_path / "out", _watch())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", ["sentiment", "paraphrase"])
@pytest.mark.parametrize("method", sorted(METHODS.keys() - set(REFUSED)))
def test_methods_that_ask_for_no_more_train_it(method: str, task: str, tmp_path: Path) -> None:
    settings = _settings(write_examples(tmp_path / "data", task), task=task, method=method, epochs=1)
    (epoch,) = train(settings, tmp_path / "out", _watch()).epochs
    assert math.isfinite(sum(epoch.losses.values()))
    assert (epoch.losses.keys() > {"task"}) == (method != "plain")


@pytest.mark.parametrize("task", ["sentiment", "paraphrase"])
@pytest.mark.parametrize("method", REFUSED)
def test_methods_that_need_a_transformer_are_refused_before_data_are_read(
    method: str, task: str, tmp_path: Path
) -> None:
    settings = _settings(tmp_path, task=task, method=method)
    with pytest.raises(EncoderError, match=f"a BiLSTM, which method {method} cannot train.*: choose plain"):
        train(settings, tmp_path / "out", _watch())
    assert not list(tmp_path.iterdir())


def test_a_base_of_a_family_that_is_not_known_is_refused_before_data_are_read(base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(base, tmp_path / "base")
    (folder / "config.json").write_text('{"model_type": "xlnet"}')
    settings = _settings(tmp_path, base=str(folder), bilstm=None)
    with pytest.raises(EncoderError, match="family 'xlnet'; those that can be trained and exported are bert, distil"):
        train(settings, tmp_path / "out", _watch())
