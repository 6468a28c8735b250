"""A tiny checkpoint, really trained, and the package really exported from it, made once."""

import shutil
from pathlib import Path

import pytest

from export.build import PackageForm, export_checkpoint
from export.graphs.finishing import write_graph
from export.origin import Origin, open_origin
from export.probes import rows_of_many_lengths
from models.networks.loading import load_trained
from models.text import Reader, Row
from models.training.loop import train
from models.training.run import Watcher
from models.training.settings import check_settings
from tests.tiny import make_base, write_sentiment

MAX_TOKENS = 32


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sentiment(tmp_path_factory.mktemp("data"), train=512, validation=200)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    base = make_base(folder / "base", dropout=0.0)
    settings = {
        "task": "sentiment", "base": str(base), "base_name": "tiny", "source": {"data": str(data)}, "epochs": 4,
        "batch_size": 16, "learning_rate": 5e-3, "max_tokens": MAX_TOKENS, "precision": "fp32", "seed": 3,
        "outside_threshold": 0.25,
    }  # fmt: skip
    train(check_settings(settings), folder / "trained", Watcher(say=lambda _: None, advance=lambda *_: None))
    return folder / "trained"


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """The int8 package; tests that change it work on a copy."""
    out = tmp_path_factory.mktemp("packages") / "sentiment"
    export_checkpoint(checkpoint, out)
    return out


@pytest.fixture(scope="session")
def fp32_package(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    out = tmp_path_factory.mktemp("packages") / "exact"
    export_checkpoint(checkpoint, out, precision="fp32", name="my.model")
    return out


@pytest.fixture(scope="session")
def package_with_fp32(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """An int8 package with its fp32 graph."""
    out = tmp_path_factory.mktemp("packages") / "with-fp32"
    export_checkpoint(checkpoint, out, form=PackageForm(with_fp32=True))
    return out


@pytest.fixture(scope="session")
def origin(checkpoint: Path) -> Origin:
    return open_origin(checkpoint)


@pytest.fixture(scope="session")
def reader(origin: Origin) -> Reader:
    return origin.reader


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """The checkpoint's fp32 graph."""
    path = tmp_path_factory.mktemp("graph") / "fp32.onnx"
    write_graph(load_trained(checkpoint, "sequence-classification"), "sequence-classification", path)
    return path


@pytest.fixture(scope="session")
def rows(origin: Origin) -> list[Row]:
    """Rows of many lengths."""
    return rows_of_many_lengths(origin.task, origin.reader)


def copied(folder: Path, into: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(folder, into / folder.name))
