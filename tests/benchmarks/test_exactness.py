"""The comparison of a checkpoint's graph, and of a package, with eager torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.exactness import compare, explained_rows, report
from export.gates.parity import run_torch
from export.origin import open_origin, read_validation
from export.package import open_package
from export.session import Session
from models.networks.loading import load_served


# The first explains texts, the second tokens, and the third spans, which lie in some of a text's windows.
@pytest.mark.parametrize("task", ["sentiment", "ner", "extractive-reading-comprehension"])
def test_the_fp32_graph_computes_what_torch_does_on_texts_of_the_data(made: Callable[[str], Path], task: str) -> None:
    lines = list(report(made(task) / "trained", made(task) / "package", texts=10))
    found = [line.split() for line in lines if line.startswith("  fp32:")]
    assert [words[1] for words in found] == ["logits", "attention", "rollout", "decomposition"]
    # 1e-4 is the tolerance of the export gate; a row's least correlation stands in the second-last column.
    assert all(float(words[2]) < 1e-4 and float(words[4]) > 0.999 for words in found), lines


def test_a_graph_with_other_answers_is_seen(made: Callable[[str], Path]) -> None:
    origin = open_origin(made("sentiment") / "trained")
    package = open_package(made("sentiment") / "package")
    session = Session(package.graph, pad_id=origin.pad_id)
    rows = explained_rows(origin, session, [one.encoded for one in read_validation(origin, None).examples][:4])
    model = load_served(origin.folder, origin.task.head)
    expected = [
        {name: array[0] for name, array in run_torch(model, origin.task.head, [row], origin.pad_id).items()}
        for row in rows
    ]
    largest = compare(session, rows, expected)["decomposition"].largest_difference
    turned = [arrays | {"decomposition": -arrays["decomposition"]} for arrays in expected]
    found = compare(session, rows, turned)["decomposition"]
    sizes = [float(np.abs(arrays["decomposition"]).max()) for arrays in expected]
    assert found.largest_difference > max(sizes) > largest
    assert max(found.correlations) < 0
