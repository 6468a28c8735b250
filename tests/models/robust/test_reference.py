"""A method's formulas at given arrays: the command, and what it says of inputs that cannot be used."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.methods import UnknownMethod
from models.robust import IMPLEMENTATIONS
from models.robust.asa import SLOPE
from models.robust.reference.__main__ import main
from models.robust.reference.arrays import NamedArrays, WrongArray
from models.robust.reference.evaluation import NoReference, NotFinite, UnreadableInputs, as_json, evaluate, read_inputs


def _asa_inputs() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(4)
    layers, batch, heads, seq, width = 2, 3, 2, 4, 5
    given = {
        "states": draw.normal(size=(layers, batch, seq, width)),
        "real": np.arange(seq)[None, :] < np.array([4, 2, 1])[:, None],
        "attention_scores": draw.normal(size=(layers, batch, heads, seq, seq)),
        "attention_gradient": draw.normal(size=(layers, batch, heads, seq, seq)),
        "clean_logits": draw.normal(size=(batch, 3)),
        "adversarial_logits": draw.normal(size=(batch, 3)),
        "task_loss": np.array(0.7),
        "tau": np.array(0.3),
    }
    for part in ("query", "key"):
        given[f"{part}_weight"] = draw.normal(size=(layers, width, width))
        given[f"{part}_bias"] = draw.normal(size=(layers, width))
    return given


def test_the_command_prints_one_line_of_json(tmp_path: Path) -> None:
    np.savez(tmp_path / "asa.npz", **_asa_inputs())  # type: ignore[arg-type]
    command = [sys.executable, "-m", "models.robust.reference", "asa", "--inputs", str(tmp_path / "asa.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    found = json.loads(done.stdout)
    assert set(found) == {
        "scores", "mask", "bias", "kept_units", "attention", "mask_gradient", "score_gradient", "divergence", "total"
    }  # fmt: skip
    assert np.shape(found["mask"]) == (2, 3, 4, 4)
    assert isinstance(found["total"], float)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("asb", "--inputs", "asa.npz"), "no training method 'asb'; choose one of: plain, asa"),
        (("plain", "--inputs", "asa.npz"), "method 'plain' has no formulas of its own; choose one of: asa"),
        (("asa", "--inputs", "none.npz"), "none.npz: cannot be read as an .npz file"),
        (("asa", "--inputs", "empty.npz"), "no array 'states'; it is needed, with axes (layers, batch, seq, width)"),
        (("asa",), "the following arguments are required: --inputs"),
    ],
)
def test_the_command_says_what_was_wrong(
    tmp_path: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "asa.npz", **_asa_inputs())  # type: ignore[arg-type]
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / one) if one.endswith(".npz") else one for one in arguments])
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert message in said.err


def test_every_array_of_asa_is_what_loops_in_float64_give() -> None:
    given = _asa_inputs()
    found = evaluate("asa", given)
    layers, batch, heads, seq, width = 2, 3, 2, 4, 5
    scores, mask = np.zeros((2, layers, batch, seq, seq))
    kept, mask_gradient = 0.0, np.zeros((layers, batch, seq, seq))
    for place in np.ndindex(layers, batch, seq):
        layer, row, i = place
        query = given["query_weight"][layer] @ given["states"][place] + given["query_bias"][layer]
        for j in range(seq):
            key = given["key_weight"][layer] @ given["states"][layer, row, j] + given["key_bias"][layer]
            scores[layer, row, i, j] = query @ key / np.sqrt(width) - SLOPE * (not given["real"][row, j])
            mask[layer, row, i, j] = scores[layer, row, i, j] > 0
            kept += mask[layer, row, i, j] / batch
        if not mask[place].any():
            continue  # unmasked, and without a gradient
        for head in range(heads):
            powers = np.exp(given["attention_scores"][layer, row, head, i]) * mask[place]
            a, g = powers / powers.sum(), given["attention_gradient"][layer, row, head, i]
            mask_gradient[place] += SLOPE * a * (g - (a * g).sum())
    p, q = (np.exp(given[name]) for name in ("clean_logits", "adversarial_logits"))
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    divergence = 0.5 * ((q - p) * np.log(q / p)).sum() / batch
    sigmoid = 1 / (1 + np.exp(-np.clip(scores, -50, 50)))
    expected = {
        "scores": scores,
        "mask": mask,
        "kept_units": kept,
        "mask_gradient": mask_gradient,
        "score_gradient": -(mask_gradient + 0.3**2 / batch) * sigmoid * (1 - sigmoid),
        "divergence": divergence,
        "total": 0.7 + divergence + 0.3**2 * kept,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-4, atol=1e-3, err_msg=name)  # float32, slope of 10,000


def test_an_attention_row_that_is_all_masked_is_as_if_unmasked() -> None:
    given = _asa_inputs()
    given["query_weight"] *= 0
    given["key_weight"] *= 0
    given["query_bias"][:], given["key_bias"][:] = 1.0, -1.0
    found = evaluate("asa", given)
    assert found["kept_units"] == 0
    assert not np.any(found["bias"])
    assert not np.any(found["mask_gradient"])


@pytest.mark.parametrize("name", ["states", "key_bias", "attention_gradient", "adversarial_logits"])
def test_a_missing_array_is_named(name: str) -> None:
    given = _asa_inputs()
    del given[name]
    with pytest.raises(WrongArray, match=f"no array '{name}'; it is needed"):
        evaluate("asa", given)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("states", np.zeros((3, 4, 5)), r"'states' has shape \(3, 4, 5\); its axes are \(layers, batch, seq, width\)"),
        ("real", np.ones((3, 9)), "'real' has 9 along axis 'seq', but 'states' has 4"),
        ("real", np.full((3, 4), 2), "'real' holds more than 0 and 1"),
        ("tau", np.array(np.nan), r"'tau' \(float64\) must hold finite real numbers"),
        ("tau", np.array("0.5"), r"'tau' \(<U3\) must hold finite real numbers"),
        ("tua", np.array(0.5), "unknown arrays: tua; these can be given: tau, states, real"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(name: str, array: np.ndarray, message: str) -> None:
    with pytest.raises(WrongArray, match=message):
        evaluate("asa", {**_asa_inputs(), name: array})


def test_whole_numbers_may_be_stored_as_floats_but_not_be_fractions() -> None:
    arrays = NamedArrays({"whole": np.array([1.0, 2.0]), "broken": np.array([1.5, 2.0])})
    assert arrays.integers("whole", "batch").tolist() == [1, 2]
    with pytest.raises(WrongArray, match="'broken' holds fractions"):
        arrays.integers("broken", "batch")


def test_a_method_that_is_not_there_is_an_error_with_the_names() -> None:
    with pytest.raises(UnknownMethod, match="no training method 'asb'"):
        evaluate("asb", {})
    with pytest.raises(NoReference, match="'plain' has no formulas of its own"):
        evaluate("plain", {})


def test_what_is_no_npz_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no arrays")
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "pickled.npz", things=np.array([{}], dtype=object))
    for name, message in {
        "text.npz": "cannot be read as an .npz file",
        "one.npy": "a single array; numpy.savez writes arrays by name",
        "pickled.npz": "cannot be read as an .npz file",
        "": "cannot be read as an .npz file",
    }.items():
        with pytest.raises(UnreadableInputs, match=message):
            read_inputs(tmp_path / name)


def test_a_result_that_is_not_finite_is_refused() -> None:
    with pytest.raises(NotFinite, match="not finite at these inputs: b"):
        as_json({"a": 1.0, "b": np.array([np.inf])})


def test_every_method_with_formulas_says_in_its_docstring_which_arrays_it_takes() -> None:
    for one in IMPLEMENTATIONS.values():
        if one.reference is not None:
            assert "Raises:\n        WrongArray" in (one.reference.__doc__ or "")
