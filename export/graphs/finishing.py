"""The last steps of every graph: merging nodes, adding contributions, and moving explanations aside."""

from pathlib import Path

import onnx
from onnx import ModelProto
from transformers import PreTrainedModel

from export.decomposition.graft import graft_contributions
from export.decomposition.tape import known_sizes
from export.graphs.branches import branch_explanations
from export.graphs.fusion import merge_gelu, merge_products
from export.graphs.pruning import drop_unused, read_weights_directly
from export.graphs.storage import save_graph
from export.graphs.tracing import trace
from models.networks.gate import GatedModel
from models.tasks.task import Head


def write_graph(model: PreTrainedModel | GatedModel, head: Head, path: Path) -> None:
    """Write a model's graph in fp32, in the form in which it is served."""
    trace(model, head, path)
    write_fp32(path, path)


def write_fp32(traced: Path, out: Path, *, portable: bool = False) -> None:
    """Write a traced graph in the form in which it is served."""
    model = onnx.load(traced)
    finish(model, portable=portable)
    save_graph(model, out)


def finish(model: ModelProto, *, portable: bool = False) -> None:
    """Give a traced graph, quantised or not, the form in which it is served, in place.

    A `portable` graph holds standard operators only, which every provider of ONNX Runtime can compute.
    """
    add_contributions(model, portable=portable)
    branch_explanations(model)
    drop_unused(model)


def add_contributions(model: ModelProto, *, portable: bool) -> None:
    """Merge nodes and add the outputs with contributions of tokens, in place; none where an operator has no rule."""
    read_weights_directly(model)
    # Before anything is merged: ONNX knows no shapes behind operators that only ONNX Runtime has.
    sizes = known_sizes(model)
    if not portable:
        merge_products(model)
    merge_gelu(model, portable=portable)
    graft_contributions(model, sizes)
