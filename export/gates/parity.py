"""Gate: the fp32 graph must compute what eager torch computes, padding included."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from export.decomposition.contributions import RECIPES
from export.errors import NotTheSameModel
from export.graphs.tracing import ExplainingModel
from export.package import ParityReport
from export.session import OUTPUTS, Arrays, Session
from models.measuring.decomposition import default_target
from models.networks.families import reads_segments
from models.networks.gate import GatedModel
from models.tasks.task import READ_AT_TOKENS, Head
from models.text import Row, pad, pad_targets

TOLERANCE = 1e-4
"""Largest accepted difference, as a share of the largest value where that is above 1.

Float32 sums in another order move the outputs of a six-layer encoder by 1e-6, and a wrong graph moves them by 1e-2 and
more.
"""

BATCH_SIZES = (1, 3, 4, 6, 8)


def check_parity(
    model: PreTrainedModel | GatedModel, head: Head, graph: Path, rows: Sequence[Row], pad_id: int
) -> ParityReport:
    """Compare every output on batches of rows of different lengths; one batch holds the first and the last of `rows`.

    Raises:
        NotTheSameModel: an output differs by more than the tolerance.
    """
    session = Session(graph, pad_id=pad_id)
    draw = random.Random(0)
    batches = [[rows[0], rows[-1]], *(draw.sample(rows, min(size, len(rows))) for size in BATCH_SIZES)]
    outputs = session.outputs
    pairs = [(session.run_padded(batch, outputs), run_torch(model, head, batch, pad_id, outputs)) for batch in batches]
    largest = {
        name: float(np.max([difference_of(computed[name], expected[name]) for computed, expected in pairs]))
        for name in outputs
    }
    # Not `>`: a difference that is not a number must not pass.
    if not all(difference <= TOLERANCE for difference in largest.values()):
        shown = ", ".join(f"{name} by {difference:.2g}" for name, difference in largest.items())
        raise NotTheSameModel(
            f"the graph differs from torch: {shown}; at most {TOLERANCE:g} is accepted: "
            "try other versions of torch, optimum-onnx or onnxruntime"
        )
    return ParityReport(
        shapes=tuple((len(batch), max(map(len, batch))) for batch in batches),
        largest_difference=largest,
        tolerance=TOLERANCE,
    )


def difference_of(computed: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference of two arrays, as a share of the largest value where that is above 1.

    Relevances of some hundreds that cancel each other, as in a BiLSTM whose states are saturated, have the rounding of
    their own size.
    """
    with np.errstate(invalid="ignore"):
        # Infinities give what is not a number.
        return float(np.abs(computed - expected).max() / np.maximum(1, np.abs(expected).max()))


@torch.inference_mode()
def run_torch(
    model: PreTrainedModel | GatedModel,
    head: Head,
    rows: Sequence[Row],
    pad_id: int,
    outputs: Sequence[str] = OUTPUTS,
) -> Arrays:
    """Compute a padded batch under torch, and return what it has of these outputs under the graph's names."""
    left_out = set() if reads_segments(model.config) else {"token_type_ids"}
    if head not in READ_AT_TOKENS:
        left_out.add("read_at")
    tensors = {name: torch.from_numpy(array) for name, array in pad(rows, pad_id).items() if name not in left_out}
    found: dict[str, Tensor] = ExplainingModel(model, head)(**tensors)
    targets = torch.from_numpy(pad_targets(rows, found["logits"].shape[1:]))
    if found["logits"].dim() == 2:
        is_asked = targets.any(dim=1, keepdim=True)
        targets = torch.where(is_asked, targets, default_target(found["logits"]))
    for name, recipe in RECIPES.items():
        if name in outputs:
            found[name] = recipe.reference(model, head, tensors, targets)
    return {name: tensor.numpy() for name, tensor in found.items() if name in outputs}
