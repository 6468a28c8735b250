"""Which tensors the nodes of a graph make and read, and the removal of what no output needs."""

from collections.abc import Iterator, Sequence

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto


def makers_of(graph: GraphProto) -> dict[str, NodeProto]:
    """The node that computes each tensor."""
    return {output: node for node in graph.node for output in node.output}


def names_read(node: NodeProto) -> Iterator[str]:
    """The tensors that a node reads, those that its branches and bodies read from outside included."""
    yield from (name for name in node.input if name)
    for inner in _bodies(node):
        made = {value.name for value in inner.input} | {name for each in inner.node for name in each.output}
        yield from (name for each in inner.node for name in names_read(each) if name not in made)


def rename_read(node: NodeProto, new_names: dict[str, str]) -> None:
    """Let a node, and the nodes in its branches and bodies, read other tensors, in place."""
    node.input[:] = [new_names.get(name, name) for name in node.input]
    for inner in _bodies(node):
        for each in inner.node:
            rename_read(each, new_names)


def needed_for(outputs: set[str], nodes: Sequence[NodeProto]) -> set[str]:
    """The nodes that compute these tensors, by the name of their first output."""
    wanted = set(outputs)
    found = set()
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            found.add(node.output[0])
            wanted.update(names_read(node))
    return found


def sort_nodes(graph: GraphProto) -> None:
    """Put every node behind those that make what it reads, in place; the order stays where it can."""
    makers = makers_of(graph)
    placed: dict[str, NodeProto] = {}
    waiting = list(reversed(graph.node))
    while waiting:
        node = waiting[-1]
        missing = [makers[name] for name in names_read(node) if name in makers]
        missing = [maker for maker in missing if maker.output[0] not in placed]
        if missing:
            waiting.extend(reversed(missing))
        else:
            placed.setdefault(node.output[0], waiting.pop())
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in placed.values()]
    del graph.node[:]
    graph.node.extend(nodes)


def read_weights_directly(model: ModelProto) -> None:
    """Let every node read a weight itself, in place, where it reads a copy of it.

    Torch writes a weight that stands in several layers, as ALBERT's do, once, and as copies for the others.
    """
    names = {tensor.name: tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Identity" and node.input[0] in names:
            names[node.output[0]] = names[node.input[0]]
        else:
            rename_read(node, names)


def drop_unused(model: ModelProto) -> None:
    """Remove, in place, nodes and weights that no output depends on."""
    graph = model.graph
    needed = needed_for({value.name for value in graph.output}, graph.node)
    kept = [node for node in graph.node if node.output[0] in needed]
    read = {name for node in kept for name in names_read(node)} | {value.name for value in graph.output}
    tensors = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:]
    graph.node.extend(kept)
    del graph.initializer[:]
    graph.initializer.extend(tensors)


def _bodies(node: NodeProto) -> list[GraphProto]:
    return [attribute.g for attribute in node.attribute if attribute.type == AttributeProto.GRAPH]
