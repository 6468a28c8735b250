"""A real package that a test can make in a few milliseconds.

The graph looks weights up by token and adds them up, with numbers chosen so that every sum is exact in float32: a
row's outputs are the same bits alone, batched and padded, as those of a package that passed the export gate.
"""

import json
import string
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from export.package import (
    GRAPH_FILE,
    MANIFEST_FILE,
    TOKENIZER_FILE,
    DeterminismReport,
    Manifest,
    ParityReport,
    Probe,
    QualityReport,
    TensorInfo,
    file_digest,
)
from export.session import Session
from models.checkpoint import Licences, MethodRecord
from models.text import Reader, ReadingLimits

LABELS = ("negative", "positive")
MAX_TOKENS = 32
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
OPINIONS = {"good": 2.0, "great": 3.0, "fine": 1.0, "bad": -2.0, "awful": -3.0, "boring": -1.0}
WORDS = (*OPINIONS, "the", "film", "was", "not", "and", "un", "##happy", "##s")
VOCABULARY = tuple(
    dict.fromkeys(
        (
            *SPECIAL,
            *WORDS,
            *string.ascii_lowercase,
            *("##" + letter for letter in string.ascii_lowercase),
            *string.digits,
            *string.punctuation,
        )
    )
)
OUTPUTS = ("logits", "attention", "rollout", "decomposition")
PROBE_TEXTS = ("the film was great", "boring and awful, not good")


def build_package(folder: Path, *, name: str = "tiny", max_tokens: int = MAX_TOKENS) -> Path:
    """Write a package that judges by the words in OPINIONS; returns its folder."""
    folder.mkdir(parents=True)
    onnx.save(_graph(), folder / GRAPH_FILE)
    _tokenizer().save(str(folder / TOKENIZER_FILE))
    manifest = Manifest(
        name=name,
        task="sentiment",
        labels=LABELS,
        method=MethodRecord(name="plain", settings={}),
        base="tiny",
        precision="fp32",
        max_tokens=max_tokens,
        pad_id=VOCABULARY.index("[PAD]"),
        inputs=_describe(_graph().graph.input),
        outputs=_describe(_graph().graph.output),
        files={file: file_digest(folder / file) for file in (GRAPH_FILE, TOKENIZER_FILE)},
        parity=ParityReport(shapes=((1, 4),), largest_difference={"logits": 0.0}, tolerance=1e-5),
        quality=QualityReport(
            metric="accuracy", rows=1, fp32=1.0, exported=1.0, tolerance=0.005, calibration_rows=0, excluded_nodes=()
        ),
        determinism=DeterminismReport(rows=1, bit_equal=True),
        metrics={"validation": {"accuracy": 1.0}},
        probes=_probes(folder, max_tokens),
        data=(),
        licences=Licences(),
        versions={},
    )
    (folder / MANIFEST_FILE).write_text(manifest.sealed().model_dump_json())
    return folder


def reseal(folder: Path, **changes: object) -> None:
    """Change the manifest and seal it again, as whoever makes packages could."""
    manifest = json.loads((folder / MANIFEST_FILE).read_bytes()) | changes
    (folder / MANIFEST_FILE).write_text(Manifest.model_validate_json(json.dumps(manifest)).sealed().model_dump_json())


def _probes(folder: Path, max_tokens: int) -> tuple[Probe, ...]:
    session = Session(folder / GRAPH_FILE, pad_id=0)
    reader = Reader.from_file(folder / TOKENIZER_FILE, ReadingLimits(max_tokens=max_tokens))
    names = OUTPUTS
    return tuple(
        Probe(
            item={"text": text},
            outputs={
                name: [row[name].tolist() for row in session.run(reader.read(text).rows, names)] for name in names
            },
        )
        for text in PROBE_TEXTS
    )


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(WordPiece({token: number for number, token in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, VOCABULARY.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    # Many published files pad to a fixed length; the reader must not.
    tokenizer.enable_padding(length=128)
    return tokenizer


def _graph() -> onnx.ModelProto:
    axes = ["batch", "sequence"]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, axes)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)]),
        helper.make_tensor_value_info("attention", TensorProto.FLOAT, axes),
        helper.make_tensor_value_info("rollout", TensorProto.FLOAT, axes),
        helper.make_tensor_value_info("decomposition", TensorProto.FLOAT, axes),
    ]
    inputs += [
        helper.make_tensor_value_info("explain", TensorProto.BOOL, [len(outputs) - 1]),
        helper.make_tensor_value_info("target", TensorProto.FLOAT, ["explained", len(LABELS)]),
    ]
    opinions = np.array([OPINIONS.get(token, 1 / 64) for token in VOCABULARY], dtype=np.float32)
    weights = np.abs(opinions)
    constants = {
        "opinions": np.stack([-opinions, opinions], axis=1),
        "weights": weights,
        "half_weights": weights / 2 + np.float32(0.5),
        "last": np.array([-1]),
        "sequence_axis": np.array([1]),
        "decomposition_place": np.array(OUTPUTS.index("decomposition") - 1),
        "label_axis": np.array([1]),
        "two": np.array(2, dtype=np.float32),
        "one": np.array(1, dtype=np.float32),
        "labels": np.eye(len(LABELS), dtype=np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "last"], ["wide_mask"]),
        node("Gather", ["opinions", "input_ids"], ["said"]),
        node("Mul", ["said", "wide_mask"], ["said_here"]),
        node("ReduceSum", ["said_here", "sequence_axis"], ["logits"], keepdims=0),
        *_shares("weights", "attention"),
        *_shares("half_weights", "rollout"),
        node("Gather", ["explain", "decomposition_place"], ["is_asked"]),
        node("If", ["is_asked"], ["decomposition"], then_branch=_decomposition(), else_branch=_nothing()),
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def _decomposition() -> onnx.GraphProto:
    """Each token's logits times the target; a row whose target is all zeros explains the label that it predicts."""
    node = helper.make_node
    nodes = [
        node("Abs", ["target"], ["absolute_target"]),
        node("ReduceMax", ["absolute_target"], ["largest_weight"], axes=[1], keepdims=1),
        node("Cast", ["largest_weight"], ["is_given"], to=TensorProto.BOOL),
        node("ArgMax", ["logits"], ["predicted"], axis=1, keepdims=0),
        node("Gather", ["labels", "predicted"], ["one_hot"]),
        node("Mul", ["one_hot", "two"], ["doubled"]),
        node("Sub", ["doubled", "one"], ["own_target"]),
        node("Where", ["is_given", "target", "own_target"], ["explained_target"]),
        node("Unsqueeze", ["explained_target", "label_axis"], ["by_token"]),
        node("Mul", ["said_here", "by_token"], ["weighed"]),
        node("ReduceSum", ["weighed", "last"], ["shares"], keepdims=0),
    ]
    return helper.make_graph(nodes, "then", [], [helper.make_tensor_value_info("shares", TensorProto.FLOAT, None)])


def _nothing() -> onnx.GraphProto:
    empty = helper.make_tensor("empty_value", TensorProto.FLOAT, [0, 0], [])
    output = helper.make_tensor_value_info("empty", TensorProto.FLOAT, None)
    return helper.make_graph([helper.make_node("Constant", [], ["empty"], value=empty)], "else", [], [output])


def _shares(table: str, output: str) -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("Gather", [table, "input_ids"], [f"{output}_all"]),
        node("Mul", [f"{output}_all", "mask"], [f"{output}_here"]),
        node("ReduceSum", [f"{output}_here", "sequence_axis"], [f"{output}_total"], keepdims=1),
        node("Div", [f"{output}_here", f"{output}_total"], [output]),
    ]


def _describe(tensors: Iterable[onnx.ValueInfoProto]) -> tuple[TensorInfo, ...]:
    return tuple(
        TensorInfo(
            name=tensor.name,
            dtype=TensorProto.DataType.Name(tensor.type.tensor_type.elem_type).lower(),
            axes=tuple(axis.dim_param or str(axis.dim_value) for axis in tensor.type.tensor_type.shape.dim),
        )
        for tensor in tensors
    )
