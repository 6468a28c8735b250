"""Merges nodes into single ones: GELU for every graph, and int8 products for ONNX Runtime alone.

ONNX Runtime makes the same of most of them as it loads a graph, but leaves the addition of a bias as a pass of its own
over each int8 product. Merged in the file, the kernel adds the bias as it writes the product. Sums and their order stay
the same, so the logits keep their bits.
"""

from collections.abc import Iterator, Mapping, Sequence

from onnx import ModelProto, NodeProto, helper

from export.graphs.pruning import makers_of

CONTRIBUTED = "com.microsoft"
"""The domain of the operators that only ONNX Runtime has."""

GELU_VERSION = 20
"""The first version of ONNX that has GELU as an operator."""


def merge_gelu(model: ModelProto, *, portable: bool) -> None:
    """Make one node, in place, of each GELU that torch wrote as h / sqrt(2), erf, + 1, * h and * 1/2, and of each that
    transformers' `gelu_new` wrote by tanh.

    ONNX's own operators round otherwise than these nodes; ONNX Runtime's round alike.
    """
    makers = makers_of(model.graph)
    domain = "" if portable else CONTRIBUTED
    for node in model.graph.node:
        if entering := _entering_gelu(node, makers):
            node.CopyFrom(helper.make_node("Gelu", [entering], node.output, node.name, domain=domain))
        elif entering := _entering_gelu_by_tanh(node, makers):
            operator, form = ("Gelu", {"approximate": "tanh"}) if portable else ("FastGelu", {})
            node.CopyFrom(helper.make_node(operator, [entering], node.output, node.name, domain=domain, **form))
    standard = next(one for one in model.opset_import if not one.domain)
    if portable:
        standard.version = max(standard.version, GELU_VERSION)
    else:
        _import_contributed(model)


def _entering_gelu(node: NodeProto, makers: Mapping[str, NodeProto]) -> str | None:
    """The tensor h of the GELU that `node` ends; None where it ends none."""
    for product, *_, division in _chains(node, ("Mul", "Mul", "Add", "Erf", "Div"), makers):
        if division.input[0] in product.input:
            return str(division.input[0])
    return None


def _entering_gelu_by_tanh(node: NodeProto, makers: Mapping[str, NodeProto]) -> str | None:
    """The tensor h of h / 2 * (1 + tanh(c (h + k h^3))), which `node` ends; None where it ends none."""
    for found in _chains(node, ("Mul", "Add", "Tanh", "Mul", "Add", "Mul", "Pow"), makers):
        one_and_tanh, (sum_with_cube, power) = found[0], (found[3], found[5])
        entering = power.input[0]
        halves = [makers[name] for name in node.input if name in makers and name not in one_and_tanh.output]
        if entering in sum_with_cube.input and any(entering in half.input for half in halves if half.op_type == "Mul"):
            return str(entering)
    return None


def _chains(node: NodeProto, operators: Sequence[str], makers: Mapping[str, NodeProto]) -> Iterator[list[NodeProto]]:
    """The ways back from `node` over nodes of these operators, `node` left out."""
    operator, *earlier = operators
    if node.op_type != operator:
        return
    if not earlier:
        yield []
    for name in node.input if earlier else ():
        if name in makers:
            yield from ([makers[name], *rest] for rest in _chains(makers[name], earlier, makers))


def merge_products(model: ModelProto) -> None:
    """Merge, in place, every product of two dequantised matrices with the bias that alone reads it."""
    graph = model.graph
    makers = makers_of(model.graph)
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    vectors = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 1}
    merged: dict[str, NodeProto] = {}
    """The new nodes by the output that they compute."""
    replaced = set()
    for node in graph.node:
        factors = [makers[name] for name in node.input if name in makers]
        if node.op_type != "MatMul" or [one.op_type for one in factors] != ["DequantizeLinear"] * 2:
            continue
        left, right = factors
        inputs = [left.input[0], right.input[0], left.input[1], right.input[1], left.input[2], right.input[2]]
        output = node.output[0]
        if len(found := readers.get(output, [])) == 1 and found[0].op_type == "Add":
            (other,) = (name for name in found[0].input if name != output)
            if other in vectors:
                replaced.add(output)
                inputs, output = [*inputs, other], found[0].output[0]
        merged[output] = helper.make_node("MatMulIntegerToFloat", inputs, [output], node.name, domain=CONTRIBUTED)
    nodes = [merged.get(node.output[0], node) for node in graph.node if node.output[0] not in replaced]
    del graph.node[:]
    graph.node.extend(nodes)
    _import_contributed(model)


def _import_contributed(model: ModelProto) -> None:
    if all(one.domain != CONTRIBUTED for one in model.opset_import):
        model.opset_import.append(helper.make_opsetid(CONTRIBUTED, 1))
