"""The form in which a graph is served: what it holds, what it computes unasked, and what a decomposition of it is."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
)

from export.build import PackageForm, export_checkpoint
from export.graphs.finishing import write_fp32, write_graph
from export.graphs.tracing import read_tensors, trace
from export.package import open_package
from export.session import Session
from export.verification import verify_package
from models.measuring.decomposition import decompose
from models.text import Row, pad
from tests.models.passes import make_config

EXPLANATIONS = ("attention", "rollout", "decomposition")


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    out = tmp_path_factory.mktemp("portable") / "package"
    export_checkpoint(checkpoint, out, form=PackageForm(portable=True))
    return out


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of its branches and bodies."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def test_a_portable_package_holds_standard_operators_only(portable: Path, package: Path) -> None:
    assert {node.domain for node in _nodes(onnx.load(portable / "model.onnx").graph)} == {""}
    assert "com.microsoft" in {node.domain for node in _nodes(onnx.load(package / "model.onnx").graph)}
    assert (open_package(portable).manifest.portable, open_package(package).manifest.portable) == (True, False)


def test_a_portable_package_is_int8_and_explains_as_others_do(portable: Path, package: Path, rows: list[Row]) -> None:
    assert verify_package(portable).passed
    assert open_package(portable).precision == "int8"
    found, usual = (Session(one / "model.onnx", pad_id=0).run(rows, EXPLANATIONS) for one in (portable, package))
    for own, other in zip(found, usual, strict=True):
        for name in EXPLANATIONS:
            # The same int8 steps, but for those where the GELU rounds otherwise.
            np.testing.assert_allclose(own[name], other[name], atol=0.05 * max(1, np.abs(other[name]).max()))


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_logits_are_the_same_bits_with_and_without_an_explanation(package: Path, rows: list[Row], name: str) -> None:
    session = Session(package / "model.onnx", pad_id=0)
    plain = session.run_padded(rows, ("logits",))["logits"]
    assert np.array_equal(session.run_padded(rows, ("logits", name))["logits"], plain)


def test_an_explanation_that_is_not_asked_for_is_empty(package: Path, rows: list[Row]) -> None:
    session = onnxruntime.InferenceSession(package / "model.onnx", providers=["CPUExecutionProvider"])
    padded = pad(rows, 0)
    feeds = {tensor.name: padded[tensor.name] for tensor in session.get_inputs()}
    # The inputs that ask have defaults.
    assert [array.size for array in session.run(list(EXPLANATIONS), feeds)] == [0, 0, 0]
    (asked,) = session.run(["rollout"], {**feeds, "explain": np.array([False, True, False])})
    assert asked.shape == padded["input_ids"].shape


def test_a_decomposition_is_linear_in_its_target(graph: Path, rows: list[Row]) -> None:
    session = Session(graph, pad_id=0)

    def shares(*weights: float) -> list[np.ndarray]:
        targeted = [replace(row, target=dict(zip([(0,), (1,)], weights, strict=True))) for row in rows]
        return [arrays["decomposition"] for arrays in session.run(targeted, ("decomposition",))]

    for first, second, both in zip(shares(1, 0), shares(0, 1), shares(2, -3), strict=True):
        # float32 sums in another order, of shares of some logits
        np.testing.assert_allclose(2 * first - 3 * second, both, atol=1e-4)


def test_without_a_target_the_predicted_label_is_explained(graph: Path, rows: list[Row]) -> None:
    session = Session(graph, pad_id=0)
    for row, arrays in zip(rows, session.run(rows, ("logits", "decomposition")), strict=True):
        best = int(arrays["logits"].argmax())
        (expected,) = session.run([replace(row, target={(best,): 1.0, (1 - best,): -1.0})], ("decomposition",))
        assert np.array_equal(arrays["decomposition"], expected["decomposition"])


def test_a_model_with_an_activation_that_has_no_rule_is_served_without_decomposition(tmp_path: Path) -> None:
    sizes = {
        "vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    }  # fmt: skip
    config = BertConfig(**sizes, hidden_act="leaky_relu")
    config._attn_implementation = "eager"
    path = tmp_path / "graph.onnx"
    write_graph(BertForSequenceClassification(config).eval(), "sequence-classification", path)
    inputs, outputs = read_tensors(path)
    assert [tensor.name for tensor in outputs] == ["logits", "attention", "rollout"]
    assert [tensor.name for tensor in inputs][3:] == ["explain"]
    assert not [node.name for node in onnx.load(path).graph.node if node.name.startswith("decomposition")]


ACTIVATED = [
    *(("bert", one) for one in ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "quick_gelu", "mish", "tanh")),
    *(("modernbert", one) for one in ("gelu", "gelu_new", "relu", "silu", "quick_gelu", "tanh")),
]


@pytest.mark.parametrize(("family", "activation"), ACTIVATED)
def test_a_decomposition_holds_an_activation_s_slope_and_a_gate_whole(
    family: str, activation: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    named = "hidden_act" if family == "bert" else "hidden_activation"
    config = make_config(family, classifier_pooling="mean")
    setattr(config, named, activation)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    write_graph(model, "sequence-classification", tmp_path / "graph.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "graph.onnx"), providers=["CPUExecutionProvider"])
    ids = np.array([[1, 5, 6, 7, 2], [1, 9, 2, 0, 0]])
    feeds = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64), "token_type_ids": np.zeros_like(ids)}
    feeds = {tensor.name: feeds[tensor.name] for tensor in session.get_inputs()}
    target = np.array([[1, 0.5, -1], [0, 1, 0]], np.float32)
    (found,) = session.run(["decomposition"], feeds | {"explain": np.array([True] * 3), "target": target})
    tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
    expected = decompose(model, "sequence-classification", tensors, torch.from_numpy(target))
    np.testing.assert_allclose(found, expected.relevances.numpy(), atol=1e-5)  # float32 sums in another order
    assert expected.relevances.abs().max() > 0.1


@pytest.mark.parametrize(("portable", "operator"), [(False, "com.microsoft FastGelu"), (True, " Gelu")])
def test_a_gelu_by_tanh_is_one_node_which_a_decomposition_passes(tmp_path: Path, portable: bool, operator: str) -> None:
    torch.manual_seed(0)
    config = AlbertConfig(
        vocab_size=64, embedding_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, hidden_act="gelu_new", attn_implementation="eager", initializer_range=0.3,
    )  # fmt: skip
    model = AlbertForSequenceClassification(config).eval()
    trace(model, "sequence-classification", tmp_path / "traced.onnx")
    write_fp32(tmp_path / "traced.onnx", tmp_path / "graph.onnx", portable=portable)
    graph = onnx.load(tmp_path / "graph.onnx").graph
    bent = [node for node in graph.node if f"{node.domain} {node.op_type}" == operator]
    assert len(bent) == 2
    assert "decomposition" in [output.name for output in graph.output]
    ids = np.array([[2, 5, 6, 7, 3]])
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    session = onnxruntime.InferenceSession(tmp_path / "graph.onnx", providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = model(**{name: torch.from_numpy(array) for name, array in feeds.items()}).logits.numpy()
    np.testing.assert_allclose(session.run(["logits"], feeds)[0], expected, atol=1e-5)
