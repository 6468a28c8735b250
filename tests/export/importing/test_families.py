"""Checkpoints of every family from elsewhere: packages that answer as they do, and tokenizers that are not theirs."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    PreTrainedTokenizerFast,
)

from export.build import PackageForm
from export.gates.parity import TOLERANCE
from export.importing.build import import_checkpoint
from export.importing.stock import write_stock
from export.package import open_package
from export.session import Session
from models.networks.encoder import EncoderError
from models.networks.families import reads_segments
from models.networks.hooks import last_linear
from models.networks.loading import check_tokenizer, name_labels
from models.tasks import find_task
from models.text import pad
from models.training.bases import open_base
from models.training.settings import check_settings
from steadfast import load
from tests.export.importing.test_stock import settings
from tests.models.passes import FAMILIES
from tests.tiny import make_texts
from tests.tiny_families import make_family_base


@pytest.fixture(params=FAMILIES)
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkpoint of each family whose labels stand in another order than the task's, and which gives them both."""
    folder = make_family_base(tmp_path / "foreign", request.param)
    config = AutoConfig.from_pretrained(folder, **name_labels(("POS", "NEG")))
    torch.manual_seed(2)
    model = AutoModelForSequenceClassification.from_pretrained(folder, config=config)
    torch.nn.init.normal_(last_linear(model).weight)
    torch.nn.init.normal_(last_linear(model).bias)
    model.save_pretrained(folder)
    return folder


def test_a_package_of_every_family_gives_the_stock_models_logits_in_the_tasks_order(
    foreign: Path, tmp_path: Path
) -> None:
    form = PackageForm(with_fp32=True)
    manifest = import_checkpoint(settings(foreign, "sentiment"), tmp_path / "out", form=form)
    assert manifest.labels == ("negative", "positive")
    assert manifest.precision == "int8" or manifest.quality.best_int8 is not None
    package = open_package(tmp_path / "out")
    exact = package.fallback or package
    session = Session(exact.graph, pad_id=manifest.pad_id)
    rows = [row for text, _ in make_texts(12, seed=9) for row in package.reader().read(text).rows]
    found = np.stack([arrays["logits"] for arrays in session.run(rows, ("logits",))])
    stock = AutoModelForSequenceClassification.from_pretrained(foreign).eval()
    arrays = pad(rows, manifest.pad_id)
    wanted = ["input_ids", "attention_mask", *(["token_type_ids"] if reads_segments(stock.config) else [])]
    with torch.inference_mode():
        logits = stock(**{name: torch.from_numpy(arrays[name]) for name in wanted}).logits.numpy()
    np.testing.assert_allclose(found, logits[:, ::-1], atol=TOLERANCE)
    with load("sentiment", package=tmp_path / "out") as model:
        (result,) = model.score(["The film was good"])
    assert result.label in manifest.labels


def add_a_token(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.add_tokens(["ferry"])


def take_padding(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.pad_token = None


def take_special(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.backend_tokenizer.post_processor = None


FAULTS: dict[str, tuple[Callable[[Any], None], str]] = {
    "more tokens": (
        add_a_token,
        r"its tokenizer has tokens up to (\d+), and its model embeddings for \1; they do not belong together, so copy",
    ),
    "no padding": (take_padding, r"its tokenizer has no padding token, which batches need; set pad_token in"),
    "no special tokens": (take_special, "its tokenizer puts no special token before texts, at which the model reads"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_tokenizer_of_another_model_is_refused_before_data_are_read(
    foreign: Path, tmp_path: Path, fault: str
) -> None:
    spoil, message = FAULTS[fault]
    tokenizer = AutoTokenizer.from_pretrained(foreign)
    spoil(tokenizer)
    tokenizer.save_pretrained(foreign)
    with pytest.raises(EncoderError, match=f"^{foreign}: {message}[^\n]*$"):
        write_stock(settings(foreign, "sentiment"), tmp_path / "written")
    chosen = check_settings({"task": "sentiment", "base": str(foreign), "source": {"data": "no such data"}})
    with pytest.raises(EncoderError, match=f"^{foreign}: {message}"):
        open_base(chosen, find_task("sentiment"))
    assert [path.name for path in tmp_path.iterdir()] == ["foreign"]


def test_a_tokenizer_that_leaves_nothing_of_a_letter_is_refused() -> None:
    knows_one = Tokenizer(BPE(vocab={"x": 0, "[PAD]": 1}, merges=[]))
    assert knows_one.encode("a").ids == []
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=knows_one, pad_token="[PAD]")
    with pytest.raises(EncoderError, match=r"^base: its tokenizer puts no special token before texts"):
        check_tokenizer(tokenizer, BertConfig(vocab_size=2), "base")


def test_a_family_that_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    foreign = make_family_base(tmp_path / "foreign", "bert")
    (foreign / "config.json").write_text('{"model_type": "vit", "id2label": {"0": "POS", "1": "NEG"}}')
    with pytest.raises(EncoderError, match=f"^{foreign}: a base model of family 'vit'; those that can be trained"):
        write_stock(settings(foreign, "sentiment"), tmp_path / "written")
    shutil.rmtree(foreign)
    assert list(tmp_path.iterdir()) == []
