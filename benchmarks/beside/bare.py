"""A package's graph and tokenizer without Steadfast: what somebody who writes a server by hand would load.

The other servers of this folder run in environments of their own, in which Steadfast is not installed.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

Floats = npt.NDArray[np.float32]


class BareModel:
    """One ONNX Runtime session with one thread."""

    def __init__(self, package: Path) -> None:
        """Load the graph and the tokenizer of a package."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        # As Steadfast loads it: the fusion costs time on int8 graphs.
        disabled = ["SkipLayerNormFusion"]
        self._session = onnxruntime.InferenceSession(
            str(package / "model.onnx"), options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled
        )
        manifest = json.loads((package / "package.json").read_bytes())
        self.labels: list[str] = manifest["labels"]
        self._pad_id: int = manifest["pad_id"]
        self._tokenizer = Tokenizer.from_file(str(package / "tokenizer.json"))
        self._tokenizer.enable_truncation(manifest["max_tokens"])
        self._inputs = {one.name: one for one in self._session.get_inputs()}

    def encode(self, text: str) -> list[int]:
        """The token ids of a text."""
        return list(self._tokenizer.encode(text).ids)

    def probabilities(self, rows: Sequence[Sequence[int]]) -> Floats:
        """The probabilities of the labels, (rows, labels)."""
        width = max(map(len, rows))
        ids = np.full((len(rows), width), self._pad_id, dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        given = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(ids),
            # Newer graphs are told which explanations to compute: none.
            "explain": np.zeros((self._explanations,), dtype=bool),
            "target": np.zeros((0, len(self.labels)), dtype=np.float32),
        }
        feeds = {name: given[name] for name in self._inputs}
        (logits,) = self._session.run(["logits"], feeds)
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponents / exponents.sum(axis=1, keepdims=True), dtype=np.float32)

    @property
    def _explanations(self) -> int:
        """The number of explanations that the graph can be asked for; 0 in graphs that are not asked."""
        return int(self._inputs["explain"].shape[0]) if "explain" in self._inputs else 0


def as_scores(labels: Sequence[str], probabilities: Sequence[float]) -> dict[str, float]:
    """The probabilities by label."""
    return {label: float(probability) for label, probability in zip(labels, probabilities, strict=True)}
