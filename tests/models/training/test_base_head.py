"""Bases that have a head: its rows go to the labels that they belong to, whatever their order and their names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer, pipeline

from models.checkpoint import HeadRecord, read_record
from models.networks.bilstm import BilstmConfig
from models.networks.encoder import Batch, Encoder
from models.networks.hooks import last_linear
from models.networks.loading import AUTO_CLASSES, name_labels
from models.tasks import find_task
from models.tasks.task import Head
from models.training.bases import open_base
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import check_settings
from tests.foreign import make_foreign
from tests.models.passes import FAMILIES, make_batch, make_config
from tests.models.runs import SILENT
from tests.tiny import make_tokenizer, write_sentiment
from tests.tiny_families import make_family_tokenizer

NLI = ("entailment", "neutral", "contradiction")


def save_base(folder: Path, family: str, labels: Sequence[str], head: Head = "sequence-classification") -> Encoder:
    """A fine-tuned checkpoint from elsewhere, with `labels` in this order and a bias that tells its rows apart."""
    bilstm = family == BilstmConfig.model_type
    tokenizer = make_tokenizer() if bilstm else make_family_tokenizer(family)
    names = name_labels(tuple(labels))
    config: Any = (
        BilstmConfig(vocab_size=len(tokenizer), word_width=8, state_width=6, reads_pairs=True, **names)
        if bilstm
        else make_config(family, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    )
    config.update(names)
    torch.manual_seed(1)
    model = AUTO_CLASSES[head].from_config(config, attn_implementation="eager")
    torch.nn.init.normal_(last_linear(model).bias)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Encoder(model).eval()


def start(folder: Path, task: str, labels: Sequence[str] | None = None) -> tuple[Encoder, HeadRecord | None]:
    settings = check_settings({"task": task, "base": str(folder), "source": {"data": "nowhere"}, "labels": labels})
    encoder, head = open_base(settings, find_task(task)).make_encoder()
    return encoder.eval(), head


def logits(encoder: Encoder, batch: Batch | None = None) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = encoder(batch or make_batch()).logits
    return found


@pytest.mark.parametrize("family", [*FAMILIES, BilstmConfig.model_type])
def test_labels_in_another_order_and_spelling_have_their_own_logits_from_the_start(family: str, tmp_path: Path) -> None:
    found = save_base(tmp_path, family, ["Contradiction", "NEUTRAL", "entails"])
    encoder, head = start(tmp_path, "nli")
    torch.testing.assert_close(logits(encoder), logits(found)[:, [2, 1, 0]], rtol=0, atol=0)
    assert head == HeadRecord(
        kept={"entailment": "entails", "neutral": "NEUTRAL", "contradiction": "Contradiction"}, drawn=()
    )
    assert encoder.model.config.id2label == dict(enumerate(NLI))


@pytest.mark.parametrize("family", FAMILIES)
def test_tags_in_another_order_have_their_own_logits_from_the_start(family: str, tmp_path: Path) -> None:
    found = save_base(tmp_path, family, ["I_PER", "O", "B_PER"], "token-classification")
    encoder, head = start(tmp_path, "ner", ["O", "B-PER", "I-PER"])
    torch.testing.assert_close(logits(encoder), logits(found)[..., [1, 2, 0]], rtol=0, atol=0)
    assert head is not None
    assert head.drawn == ()


def test_a_label_that_the_base_lacks_is_drawn_anew_beside_those_that_it_has(tmp_path: Path) -> None:
    found = save_base(tmp_path, "bert", ["POS", "NEG"])
    encoder, head = start(tmp_path, "sentiment", ["negative", "neutral", "positive"])
    torch.testing.assert_close(logits(encoder)[:, [0, 2]], logits(found)[:, [1, 0]], rtol=0, atol=0)
    assert head == HeadRecord(kept={"negative": "NEG", "positive": "POS"}, drawn=("neutral",))
    assert last_linear(encoder.model).bias[1] == 0


def test_of_more_labels_in_the_base_those_of_the_task_are_kept(tmp_path: Path) -> None:
    found = save_base(tmp_path, "bert", ["neutral", "positive", "negative"])
    encoder, _ = start(tmp_path, "sentiment")
    torch.testing.assert_close(logits(encoder), logits(found)[:, [2, 1]], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("labels", "head"),
    [
        # One label in common may answer another question.
        (NLI, "sequence-classification"),
        (["LABEL_0", "LABEL_1", "LABEL_2"], "sequence-classification"),
        (["pos", "positive", "neutral"], "sequence-classification"),
        # The tensors of both heads have the same names in BERT.
        (["negative", "neutral", "positive"], "token-classification"),
    ],
)
def test_a_head_of_the_same_size_that_means_something_else_is_drawn_anew(
    labels: Sequence[str], head: Head, tmp_path: Path
) -> None:
    wanted = ("negative", "neutral", "positive")
    found = save_base(tmp_path, "bert", labels, head)
    encoder, record = start(tmp_path, "sentiment", wanted)
    assert record == HeadRecord(kept={}, drawn=wanted)
    assert not last_linear(encoder.model).bias.any()
    assert not torch.isclose(last_linear(encoder.model).weight, last_linear(found.model).weight).any()
    ours, theirs = (one.model.base_model.encoder.state_dict() for one in (encoder, found))
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


@pytest.mark.parametrize("task", ["sts", "masked-words", "reading-comprehension"])
def test_heads_without_labels_to_name_are_left_as_they_are(task: str, tmp_path: Path) -> None:
    save_base(tmp_path, "bert", ["score"])
    assert start(tmp_path, task)[1] is None


def test_a_base_without_a_head_draws_what_it_drew_before(base: Path) -> None:
    torch.manual_seed(4)
    encoder, head = start(base, "sentiment")
    torch.manual_seed(4)
    model = AUTO_CLASSES["sequence-classification"].from_pretrained(base)
    assert head is None
    assert torch.equal(last_linear(encoder.model).weight, last_linear(model).weight)


def test_the_log_and_the_checkpoint_say_what_was_kept_and_what_was_drawn(tmp_path: Path) -> None:
    save_base(tmp_path / "base", "bert", ["POS", "NEG"])
    settings = check_settings(
        {
            "task": "sentiment", "base": str(tmp_path / "base"), "labels": ["negative", "neutral", "positive"],
            "source": {"data": str(write_sentiment(tmp_path / "data", train=8, validation=4))},
            "epochs": 1, "max_tokens": 16, "precision": "fp32",
        }
    )  # fmt: skip
    said: list[str] = []
    train(settings, tmp_path / "out", Watcher(say=said.append, advance=SILENT.advance))
    assert f"the head of {tmp_path / 'base'}: kept for negative (NEG), positive (POS); drawn anew for neutral" in said
    record = read_record(tmp_path / "out").head
    assert record == HeadRecord(kept={"negative": "NEG", "positive": "POS"}, drawn=("neutral",))
    # A checkpoint of ours is a base by the same rule.
    assert start(tmp_path / "out", "sentiment")[1] == HeadRecord(
        kept={"negative": "negative", "positive": "positive"}, drawn=()
    )


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_a_checkpoint_says_nothing_of_what_was_done_to_the_numbers_of_its_bases_head(
    problem: str, tmp_path: Path
) -> None:
    config = AutoConfig.from_pretrained(make_foreign(tmp_path / "base", "sequence-classification", ["POS", "NEG"]))
    sigmoid = {"activation_fn": "torch.nn.modules.activation.Sigmoid"}
    config.update({"problem_type": problem, "sentence_transformers": sigmoid})
    config.save_pretrained(tmp_path / "base")
    start(tmp_path / "base", "sentiment")[0].model.save_pretrained(tmp_path / "out")
    AutoTokenizer.from_pretrained(tmp_path / "base").save_pretrained(tmp_path / "out")
    (answers,) = pipeline("text-classification", model=str(tmp_path / "out"), top_k=None)(["a good film"])
    assert sum(answer["score"] for answer in answers) == pytest.approx(1)
    assert "sentence_transformers" not in (tmp_path / "out" / "config.json").read_text()


def test_labels_of_ones_own_keep_their_rows(tmp_path: Path) -> None:
    found = save_base(tmp_path, "bert", ["sport", "Money", "arts"])
    encoder, head = start(tmp_path, "text-classification", ["arts", "money", "sport"])
    torch.testing.assert_close(logits(encoder), logits(found)[:, [2, 1, 0]], rtol=0, atol=0)
    assert head == HeadRecord(kept={"arts": "arts", "money": "Money", "sport": "sport"}, drawn=())


@pytest.mark.parametrize(
    ("labels", "kept"),
    [
        (["pos", "positive", "negative"], {"positive": "Positive", "negative": "NEG"}),
        (["negative", "good", "pos", "Positive"], {"negative": "NEG", "Positive": "Positive"}),
        (["pos", "negative", "neg"], {"pos": "Positive", "neg": "NEG"}),
        # A row for two labels is one match, and that is none.
        (["pos", "positive", "neutral"], {}),
    ],
)
def test_of_labels_of_one_meaning_one_has_the_row_of_the_base(
    labels: list[str], kept: dict[str, str], tmp_path: Path
) -> None:
    found = save_base(tmp_path, "bert", ["NEG", "Positive"])
    encoder, head = start(tmp_path, "sentiment", labels)
    assert head == HeadRecord(kept=kept, drawn=tuple(label for label in labels if label not in kept))
    rows = {"NEG": 0, "Positive": 1}
    for label, name in kept.items():
        ours, theirs = last_linear(encoder.model), last_linear(found.model)
        assert torch.equal(ours.weight[labels.index(label)], theirs.weight[rows[name]])
        assert ours.bias[labels.index(label)] == theirs.bias[rows[name]]
    assert not last_linear(encoder.model).bias[[labels.index(label) for label in head.drawn]].any()
