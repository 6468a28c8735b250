"""fp16 packages: through the same gates, computed here by the CPU's conversions, and served."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from onnxruntime import InferenceSession
from transformers import AutoModelForSequenceClassification

from export.build import PackageForm, export_checkpoint
from export.errors import TooCostly
from export.graphs.finishing import write_fp32
from export.graphs.half import write_half
from export.graphs.tracing import trace
from export.package import open_package
from export.probes import rows_of_many_lengths
from export.session import OUTPUTS, Session
from export.verification import verify_package
from service.answers.contract import Options
from service.answers.explanation import ExplainOptions
from service.answers.predictor import Predictor
from service.engine.limits import EngineLimits
from service.engine.pool import Pool
from tests.models.passes import FAMILIES, make_config
from tests.tiny import KINDS, make_items


@pytest.fixture(scope="module", params=KINDS)
def halved(
    request: pytest.FixtureRequest, made: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A task's package in fp16, with its fp32 graph beside."""
    package = tmp_path_factory.mktemp(request.param) / "package"
    export_checkpoint(made(request.param) / "trained", package, precision="fp16", form=PackageForm(with_fp32=True))
    return package, package / "model.fp32.onnx"


def test_weights_are_float16_and_what_goes_in_and_out_is_not(halved: tuple[Path, Path]) -> None:
    graph = onnx.load(halved[0] / "model.onnx").graph
    # The default of `target` has no rows.
    kinds = {weight.data_type for weight in graph.initializer if len(weight.dims) == 2 and all(weight.dims)}
    assert kinds == {TensorProto.FLOAT16}
    assert {tensor.type.tensor_type.elem_type for tensor in graph.output} == {TensorProto.FLOAT}


def test_it_gives_what_fp32_gives_within_three_digits(halved: tuple[Path, Path]) -> None:
    opened = open_package(halved[0])
    half, single = (Session(graph, pad_id=opened.manifest.pad_id) for graph in (halved[0] / "model.onnx", halved[1]))
    assert half.outputs == single.outputs
    for row in rows_of_many_lengths(opened.task, opened.reader()):
        found, expected = (session.run([row], session.outputs)[0] for session in (half, single))
        for name in half.outputs:
            np.testing.assert_allclose(
                found[name], expected[name], atol=2e-2, rtol=2e-3, err_msg=name
            )  # half has 11 bits
    assert not np.array_equal(found["logits"], expected["logits"])


def test_it_verifies_and_answers(halved: tuple[Path, Path]) -> None:
    report = verify_package(halved[0])
    assert report.passed, report.checks
    package = open_package(halved[0])
    assert package.precision == "fp16"
    items = [package.task.item.model_validate(item) for item in make_items(package.task.name, 4)]
    with Pool(1) as pool, Predictor(package, EngineLimits(), pool) as predictor:
        results = predictor.answer(items, Options(explain=ExplainOptions(method="attention"))).results
    assert len(results) == 4
    card = (halved[0] / "README.md").read_text()
    assert "in fp16" in card


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_in_fp16_what_it_gives_in_fp32(family: str, portable: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = make_config(family, initializer_range=0.1)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    trace(model, "sequence-classification", tmp_path / "traced.onnx")
    write_half(tmp_path / "traced.onnx", tmp_path / "half.onnx", portable=portable)
    write_fp32(tmp_path / "traced.onnx", tmp_path / "single.onnx")
    found, expected = (_compute_all(tmp_path / f"{name}.onnx") for name in ("half", "single"))
    for name in OUTPUTS:
        np.testing.assert_allclose(found[name], expected[name], atol=5e-3, err_msg=name)  # half has 11 bits
    assert not np.array_equal(found["logits"], expected["logits"])


def _compute_all(graph: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Every output for two rows, the second padded."""
    ids = np.array([[1, 5, 6, 7, 2], [1, 9, 2, 0, 0]])
    feeds = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64), "token_type_ids": np.zeros_like(ids)}
    session = InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    feeds = {tensor.name: feeds[tensor.name] for tensor in session.get_inputs()}
    target = np.array([[1, 0.5, -1], [0, 1, 0]], np.float32)
    found = session.run(OUTPUTS, feeds | {"explain": np.array([True] * 3), "target": target})
    return dict(zip(OUTPUTS, found, strict=True))


def test_fp16_that_loses_too_much_is_refused(
    made: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_something_else(traced: Path, half: Path, *, portable: bool) -> None:
        write_half(traced, half, portable=portable)
        model = onnx.load(half)
        for weight in model.graph.initializer:
            if weight.data_type == TensorProto.FLOAT16:
                weight.CopyFrom(numpy_helper.from_array(0 * numpy_helper.to_array(weight), weight.name))
        onnx.save(model, half)

    monkeypatch.setattr("export.build.write_half", write_something_else)
    with pytest.raises(TooCostly, match=r"fp16 gives accuracy 0\.\d+ and fp32 .*: export with --precision fp32"):
        export_checkpoint(made("sentiment") / "trained", tmp_path / "package", precision="fp16")
    assert not (tmp_path / "package").exists()
