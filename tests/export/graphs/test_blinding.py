"""Graphs made blind to terms of identity: what moves, how far, and what stays."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession
from tokenizers import Tokenizer
from tokenizers.models import WordLevel, WordPiece
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split, Whitespace

from export.errors import CannotBlind
from export.graphs.blinding import blind
from export.graphs.embeddings import quantize_tables
from export.package import open_package
from export.session import Session

ROOT = Path(__file__).parents[3]

VOCABULARY = ["[PAD]", "[UNK]", "french", "greek", "sik", "##h", "muslim", "hindu", "film", "gay", "emily"]
TERMS = {"nationality": [2, 3], "religion": [6, 7]}
ALONE = [0, 1, 4, 5, 8, 9, 10]
"""No term, a piece of one, a name, and the one term of its kind that is a token."""


def tokenizer() -> Tokenizer:
    made = Tokenizer(WordPiece({word: number for number, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = Lowercase(), Whitespace()
    return made


def write_lookup(path: Path, table: npt.NDArray[np.float32], kind: str) -> Path:
    """A graph that gives the embeddings of its tokens."""
    values = table.astype(np.float16) if kind == "fp16" else table
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["found"])],
        "lookup",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT16 if kind == "fp16" else TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if kind == "int8":
        quantize_tables(model)
    onnx.save(model, path)
    return path


def embeddings(graph: Path) -> npt.NDArray[np.float32]:
    (found,) = InferenceSession(graph).run(None, {"input_ids": np.arange(len(VOCABULARY))[None]})
    return np.asarray(found[0], dtype=np.float32)


@pytest.mark.parametrize(("kind", "tolerance"), [("fp32", 1e-6), ("fp16", 4e-3), ("int8", 2e-2)])
@settings(max_examples=20)
@given(share=st.floats(0.01, 1), seed=st.integers(0, 2**32 - 1))
def test_terms_of_a_kind_move_by_the_share_to_their_mean_and_nothing_else_moves(
    tmp_path_factory: pytest.TempPathFactory, kind: str, tolerance: float, share: float, seed: int
) -> None:
    table = np.random.default_rng(seed).uniform(-1, 1, (len(VOCABULARY), 8)).astype(np.float32)
    graph = write_lookup(tmp_path_factory.mktemp("graph") / "model.onnx", table, kind)
    before = embeddings(graph)
    blind(graph, tokenizer(), share)
    after = embeddings(graph)
    for rows in TERMS.values():
        mean = before[rows].mean(axis=0)
        assert after[rows] == pytest.approx(before[rows] * (1 - share) + mean * share, abs=tolerance)
    assert (after[ALONE] == before[ALONE]).all()


def test_a_real_package_cannot_tell_terms_apart_that_are_one(tmp_path: Path) -> None:
    package = open_package(ROOT / "zoo" / "sentiment")
    graph = tmp_path / "model.onnx"
    shutil.copyfile(package.graph, graph)
    blind(graph, package.reader().tokenizer, 1.0)
    for path, is_same in ((graph, True), (package.graph, False)):
        session = Session(path, pad_id=package.manifest.pad_id)
        texts = [f"My {word} friend came to see us." for word in ("Syrian", "Korean")]
        logits = [session.run(package.reader().read(text).rows, ["logits"])[0]["logits"] for text in texts]
        assert (logits[0] == logits[1]).all() == is_same


def test_terms_with_a_capital_and_a_space_are_tokens_of_their_own_in_other_tokenizers(tmp_path: Path) -> None:
    vocabulary = ["[UNK]", "\u0120French", "\u0120Greek", "french", "greek", "film"]
    cased = Tokenizer(WordLevel({word: number for number, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    cased.pre_tokenizer = Sequence([Split(" ", "merged_with_next"), ByteLevel(add_prefix_space=False, use_regex=False)])
    table = np.random.default_rng(0).uniform(-1, 1, (len(VOCABULARY), 4)).astype(np.float32)
    graph = write_lookup(tmp_path / "model.onnx", table, "fp32")
    blind(graph, cased, 1.0)
    found = embeddings(graph)
    assert found[1] == pytest.approx(table[1:3].mean(axis=0), abs=1e-6)
    assert found[3] == pytest.approx(table[3:5].mean(axis=0), abs=1e-6)
    assert (found[[0, 5]] == table[[0, 5]]).all()


def test_a_graph_without_a_table_and_a_tokenizer_without_terms_are_refused(tmp_path: Path) -> None:
    graph = write_lookup(tmp_path / "model.onnx", np.ones((len(VOCABULARY), 4), np.float32), "fp32")
    nameless = Tokenizer(WordPiece({"[UNK]": 0, "film": 1}, unk_token="[UNK]"))
    nameless.pre_tokenizer = Whitespace()
    with pytest.raises(CannotBlind, match="no two terms"):
        blind(graph, nameless, 0.5)
    model = onnx.load(graph)
    model.graph.node[0].input[1] = model.graph.input[0].name = "other"
    onnx.save(model, graph)
    with pytest.raises(CannotBlind, match="does not look its tokens up"):
        blind(graph, tokenizer(), 0.5)
