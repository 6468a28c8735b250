"""Makes a finished graph blind, in part, to terms of nationality, religion and orientation.

The embedding of each term moves towards the mean of its kind, so that an answer hangs less on which of them a text
names. Moved the whole way, all terms of a kind are one, which Garg et al. (AIES 2019, section 4.1) call blindness. They
put one token in place of every term before training; here a trained model is changed, in part, and trained no more.
Names stay: those of some origins are one token and those of others several. Moving the former alone closes no gap.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from tokenizers import Tokenizer

from export.errors import CannotBlind
from export.graphs.embeddings import quantize_rows
from export.graphs.storage import save_graph
from models.edits.names import IDENTITY_KINDS, KINDS


def blind(graph: Path, tokenizer: Tokenizer, share: float) -> None:
    """Move the embeddings of terms of identity in a graph by this share of the way to the mean of their kind.

    Terms that the tokenizer cuts into pieces stay as they are, and so does the rest of the graph. A table in int8 is
    rounded anew in the rows that move.

    Raises:
        CannotBlind: the graph does not look tokens up in one table, or no kind has two terms that are one token.
    """
    groups = list(_groups(tokenizer))
    if not groups:
        raise CannotBlind(f"{graph}: its tokenizer has no two terms of one kind as whole words")
    model = onnx.load(graph)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    gathered = [node.input[0] for node in model.graph.node if node.op_type == "Gather" and "input_ids" in node.input]
    tables = {name: numpy_helper.to_array(constants[name]).copy() for name in gathered if name in constants}
    match list(tables.values()):
        case [rows, scales] if rows.dtype == np.int8:
            for group in groups:
                rows[group], scales[group] = quantize_rows(_drawn_together(rows[group] * scales[group], share))
        case [floats] if floats.dtype != np.int8:
            for group in groups:
                floats[group] = _drawn_together(floats[group].astype(np.float32), share)
        case _:
            raise CannotBlind(f"{graph}: does not look its tokens up in one table of embeddings")
    for name, table in tables.items():
        constants[name].CopyFrom(numpy_helper.from_array(table, name))
    save_graph(model, graph)


def _drawn_together(vectors: npt.NDArray[np.float32], share: float) -> npt.NDArray[np.float32]:
    drawn: npt.NDArray[np.float32] = np.float32(1 - share) * vectors + np.float32(share) * vectors.mean(axis=0)
    return drawn


def _groups(tokenizer: Tokenizer) -> Iterator[list[int]]:
    """The tokens of each kind's terms, where at least two are one token; those with another capital are apart."""
    unknown = tokenizer.token_to_id(getattr(tokenizer.model, "unk_token", None) or "")
    found: set[tuple[int, ...]] = set()
    for kind in IDENTITY_KINDS:
        for write in (str, str.lower):
            for before in ("", " "):
                texts = [before + write(term) for term in KINDS[kind]]
                ids = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
                group = tuple(sorted({one[0] for one in ids if len(one) == 1} - {unknown}))
                if len(group) > 1 and group not in found:
                    found.add(group)
                    yield list(group)
