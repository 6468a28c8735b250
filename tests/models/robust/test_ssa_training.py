"""Whole trainings with SSA, and the models that come out of them."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from models.checkpoint import read_record
from models.data import Example, load_validation
from models.evaluation import measure
from models.networks.encoder import Encoder, EncoderError
from models.networks.loading import load_encoder, open_trained_model
from models.robust import IMPLEMENTATIONS, read_settings
from models.text import Reader, ReadingLimits
from models.training.interruption import Interrupted
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import TrainingError, check_settings
from tests.models.passes import make_build_context, make_encoder
from tests.tiny import make_base, make_texts, make_tokenizer, write_examples

METHOD_NAMES = ["ssa-co", "ssa-hybrid"]
READER = Reader(make_tokenizer().backend_tokenizer, ReadingLimits(max_tokens=32))


@pytest.fixture
def encoder(base: Path) -> Encoder:
    torch.manual_seed(1)
    return load_encoder(base, "sequence-classification", ("no", "yes")).eval()


@pytest.fixture
def examples() -> list[Example]:
    return [Example(READER.read(text), label) for text, label in make_texts(60, seed=4)]


def _settings(base: Path, data: Path, method: str, **changed: Any) -> Any:
    given = {
        "task": "sentiment", "base": str(base), "source": {"data": str(data)}, "epochs": 3, "batch_size": 16,
        "learning_rate": 2e-3, "max_tokens": 32, "precision": "fp32", "save_every": 4, "seed": 3, "method": method,
    }  # fmt: skip
    return check_settings(given | changed)


def _ignore(*_: object) -> None:
    """Ignore a run's lines."""


def _train(settings: Any, out: Path) -> Path:
    train(settings, out, Watcher(say=_ignore, advance=_ignore))
    return out


def _weights(folder: Path) -> dict[str, Tensor]:
    return {
        f"{file}/{name}": tensor
        for file in ("model", "method")
        if (folder / f"{file}.safetensors").is_file()
        for name, tensor in load_file(folder / f"{file}.safetensors").items()
    }


def _same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_with_lambda_0_and_no_masked_texts_co_is_plain_training_bit_for_bit(
    base: Path, data: Path, tmp_path: Path
) -> None:
    off = {"token_weight": 0.0}
    _train(_settings(base, data, "plain"), tmp_path / "plain")
    _train(_settings(base, data, "ssa-co", method_settings=off), tmp_path / "co")
    assert _same(*(load_file(tmp_path / name / "model.safetensors") for name in ("plain", "co")))
    metrics = [[epoch.metrics for epoch in read_record(tmp_path / name).epochs] for name in ("plain", "co")]
    assert metrics[0] == metrics[1]


def test_reading_the_start_alone_the_hybrid_is_plain_training_but_for_the_heads_dropout(
    data: Path, tmp_path: Path
) -> None:
    calm = make_base(tmp_path / "base", dropout=0.0)
    off = {"token_weight": 0.0, "ratio_step": 0.0, "start_share": 1.0}
    _train(_settings(calm, data, "plain"), tmp_path / "plain")
    _train(_settings(calm, data, "ssa-hybrid", method_settings=off), tmp_path / "hybrid")
    assert _same(*(load_file(tmp_path / name / "model.safetensors") for name in ("plain", "hybrid")))


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_stopped_in_the_middle_of_an_epoch_it_goes_on_with_its_labels(
    base: Path, data: Path, tmp_path: Path, name: str
) -> None:
    """Epochs have 6 steps; it is stopped after the third of the second and the fourth of the third."""
    settings = _settings(base, data, name, method_settings={"trigger": 0.3, "ratio_step": 0.4})
    _train(settings, tmp_path / "whole")

    def stop(step: int, *_: object) -> None:
        if step in (9, 16):
            signal.raise_signal(signal.SIGINT)

    for _ in range(2):
        with pytest.raises(Interrupted):
            train(settings, tmp_path / "out", Watcher(say=_ignore, advance=stop))
        state = load_file(tmp_path / "out.training" / "state.safetensors")
        assert (state["method.labels"] == 0).any()
        assert state["method.sources"].tolist() != list(range(96))
    train(settings, tmp_path / "out", Watcher(say=_ignore, advance=stop))
    assert _same(_weights(tmp_path / "out"), _weights(tmp_path / "whole"))
    assert read_record(tmp_path / "out").epochs == read_record(tmp_path / "whole").epochs


def test_a_soup_of_hybrids_is_measured_with_the_gate_it_is_served_with(base: Path, data: Path, tmp_path: Path) -> None:
    out = _train(_settings(base, data, "ssa-hybrid", learning_rate=(1e-3, 2e-3), epochs=2), tmp_path / "out")
    record, evaluated = read_record(out), open_trained_model(out)
    rows = load_validation(record.source, evaluated.task, evaluated.outputs, evaluated.reader)
    assert measure(evaluated, rows.examples) == record.metrics


@pytest.fixture(scope="module")
def trained(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("trained")
    return {name: _train(_settings(base, data, name), folder / name) for name in METHOD_NAMES}


TEXT = "the plot was lovely"


def test_co_leaves_a_stock_model_with_identical_logits(trained: dict[str, Path]) -> None:
    stock, report = AutoModelForSequenceClassification.from_pretrained(
        trained["ssa-co"], attn_implementation="eager", output_loading_info=True
    )
    assert not any(report.values())
    evaluated = open_trained_model(trained["ssa-co"])
    (row,) = evaluated.reader.read(TEXT).rows
    with torch.inference_mode():
        expected = stock.eval()(input_ids=torch.tensor([row.ids])).logits[0]
    assert torch.equal(torch.from_numpy(evaluated.run([row])[0]), expected)


def test_a_hybrid_answers_by_the_formula_and_not_as_the_stock_model(trained: dict[str, Path]) -> None:
    folder = trained["ssa-hybrid"]
    stock = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    weights = load_file(folder / "method.safetensors")
    evaluated = open_trained_model(folder)
    (row,) = evaluated.reader.read(TEXT).rows
    with torch.inference_mode():
        output = stock(input_ids=torch.tensor([row.ids]), output_hidden_states=True)
        states = output.hidden_states[-1][0]
        hidden = nn.functional.gelu(states @ weights["tokens.dense.weight"].T + weights["tokens.dense.bias"])
        normed = nn.functional.layer_norm(
            hidden, (16,), weights["tokens.norm.weight"], weights["tokens.norm.bias"], eps=1e-12
        )
        p = (normed @ weights["tokens.output.weight"].T + weights["tokens.output.bias"]).softmax(-1)[:, 1]
        words = torch.tensor([sequence is not None for sequence in row.encoding.sequence_ids])
        kept = words & (p >= 0.3)
        assert kept.any()
        context = p[kept].softmax(0) @ states[kept]
        expected = stock.classifier(0.5 * stock.bert.pooler(states[None])[0] + 0.5 * context)
    found = torch.from_numpy(evaluated.run([row])[0])
    torch.testing.assert_close(found, expected)  # float32 sums in another order
    assert not torch.allclose(found, output.logits[0], atol=1e-3)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_the_metrics_in_the_record_are_those_of_the_model_as_it_is_opened(trained: dict[str, Path], name: str) -> None:
    record, evaluated = read_record(trained[name]), open_trained_model(trained[name])
    rows = load_validation(record.source, evaluated.task, evaluated.outputs, evaluated.reader)
    assert measure(evaluated, rows.examples) == record.metrics


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_checkpoint_holds_the_classifier_beside_plain_names_and_no_labels(
    trained: dict[str, Path], name: str
) -> None:
    assert not any("tokens" in key for key in load_file(trained[name] / "model.safetensors"))
    assert {key.split(".")[0] for key in load_file(trained[name] / "method.safetensors")} == {"tokens"}


@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_a_hybrid_without_its_own_gate_is_refused(trained: dict[str, Path], tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "hybrid"
    folder.mkdir()
    for path in trained["ssa-hybrid"].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    gate = folder / "method.safetensors"
    if damage == "missing":
        gate.unlink()
    else:
        gate.write_bytes(gate.read_bytes()[:100] if damage == "cut" else (folder / "model.safetensors").read_bytes())
    with pytest.raises(EncoderError, match=r"method\.safetensors: missing, damaged or not what method ssa-hybrid"):
        open_trained_model(folder)


def test_a_training_on_scores_accepts_masked_texts_once_its_scores_are_near_and_says_when_it_does_not(
    tmp_path: Path,
) -> None:
    base, data = make_base(tmp_path / "base", dropout=0.0), write_examples(tmp_path / "data", "sts", train=64)
    settings = _settings(
        base, data, "ssa-hybrid", task="sts", epochs=6, learning_rate=1e-2, method_settings={"trigger": 0.3}
    )
    said: list[str] = []
    record = train(settings, tmp_path / "out", Watcher(say=said.append, advance=_ignore))
    shares = [epoch.losses["irrelevant"] for epoch in record.epochs]
    assert shares[:2] == [0, 0]
    assert shares[-1] > 0.02
    assert "0 masked texts were accepted, 12 are wanted: 12 unmasked texts take the place of the others" in said
    assert record.metrics["spearman"] > 0.8


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize("task", ["ner", "reading-comprehension", "extractive-reading-comprehension"])
def test_tasks_without_one_answer_to_one_text_are_refused(base: Path, data: Path, name: str, task: str) -> None:
    with pytest.raises(TrainingError, match=f"method {name} means nothing for {task}; choose one of: plain"):
        _settings(base, data, name, task=task)


def test_a_base_that_cannot_mask_is_refused() -> None:
    encoder = make_encoder()
    context = make_build_context(encoder)
    context.tokenizer.mask_token = None
    with pytest.raises(EncoderError, match="no mask token, which SSA puts for words; choose another base"):
        IMPLEMENTATIONS["ssa-co"].build(read_settings("ssa-co", {}), context)
