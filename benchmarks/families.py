"""The CPU time of a text under each family of encoders at one shape: their int8 and fp32 graphs beside fp32 torch.

`python -m benchmarks.families` runs it, on one thread. Weights are random: time does not depend on them. The control,
"raw", is the same int8 graph in a plain session of ONNX Runtime, which is fed with the arrays that the row becomes.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import rich
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from benchmarks.__main__ import machine
from export.graphs.finishing import write_fp32
from export.graphs.quantization import prepare, quantize
from export.graphs.tracing import trace
from export.runtime import onnxruntime
from export.session import Session
from models.networks.batches import batch_rows
from models.networks.encoder import Encoder
from models.networks.families import FAMILIES
from models.text import Reader, ReadingLimits, Row, pad

ROUNDS = 5
KINDS = ("int8", "fp32", "raw", "torch")
RATIOS = (("int8", "raw"), ("int8", "torch"), ("fp32", "torch"), ("int8", "bert"))
"""The ratios that are printed: a kind to another, or to the int8 graph of BERT."""
TOKENIZER = Path(__file__).parents[1] / "zoo" / "sentiment" / "tokenizer.json"
TEXT = "The new film tells an old story slowly, and few people who saw it were ever truly happy."
SHAPE = "6 layers, width 384, a text of 22 tokens alone, one thread"

SIZES = {
    "vocab_size": 30522,
    "hidden_size": 384,
    "embedding_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "pad_token_id": 0,
}
NARROW = {"albert": 128, "electra": 128}
"""The width of the embeddings, in families that usually have narrow ones."""

FURTHER: dict[str, dict[str, Any]] = {
    "distilbert": {"hidden_dim": 1536},
    "deberta-v2": {
        "relative_attention": True, "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "type_vocab_size": 0,
    },
    "modernbert": {"bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2},
}  # fmt: skip


def measure() -> dict[str, dict[str, float]]:
    """By family, CPU seconds of a text by each of `KINDS`: medians over rounds in which all take turns."""
    torch.set_num_threads(1)
    rows = Reader.from_file(TOKENIZER, ReadingLimits(max_tokens=64)).read(TEXT).rows
    names = [name for name, family in FAMILIES.items() if family.self_attends]
    with tempfile.TemporaryDirectory() as folder:
        runs = {(name, kind): run for name in names for kind, run in _make(name, rows, Path(folder)).items()}
        for run in runs.values():
            run()
        rounds = [{key: _cpu_seconds(run) for key, run in runs.items()} for _ in range(ROUNDS)]
    seconds = {key: statistics.median(each[key] for each in rounds) for key in runs}
    return {name: {kind: seconds[name, kind] for kind in KINDS} for name in names}


def report() -> Iterator[str]:
    """The lines to print."""
    found = measure()
    yield f"CPU time of a text in ms, and as a ratio ({SHAPE})"
    titles = "".join(f"{mine + ' / ' + other:>14}" for mine, other in RATIOS)
    yield f"  {'':<13}{''.join(f'{kind:>8}' for kind in KINDS)}  {titles}"
    for name, one in found.items():
        times = "".join(f"{one[kind] * 1e3:8.2f}" for kind in KINDS)
        others = one | {"bert": found["bert"]["int8"]}
        yield f"  {name:<13}{times}  {''.join(f'{one[kind] / others[other]:14.2f}' for kind, other in RATIOS)}"


def _make(name: str, rows: tuple[Row, ...], folder: Path) -> Mapping[str, Callable[[], object]]:
    torch.manual_seed(0)
    sizes = {**SIZES, **({"embedding_size": NARROW[name]} if name in NARROW else {}), **FURTHER.get(name, {})}
    names = AutoConfig.for_model(name).attribute_map
    config = AutoConfig.for_model(name, **{names.get(key, key): size for key, size in sizes.items()})
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    work = folder / name
    work.mkdir()
    trace(model, "sequence-classification", work / "traced.onnx")
    write_fp32(work / "traced.onnx", work / "fp32.onnx")
    calibration = prepare(work / "traced.onnx", rows, work)
    quantize(calibration, calibration.linears, work / "int8.onnx")
    sessions = {kind: Session(work / f"{kind}.onnx", pad_id=0) for kind in ("int8", "fp32")}
    batch, encoder = batch_rows(rows, 0, torch.device("cpu")), Encoder(model)

    @torch.inference_mode()
    def run_torch() -> object:
        return encoder(batch)

    return {
        "int8": lambda: sessions["int8"].run(rows, ("logits",)),
        "fp32": lambda: sessions["fp32"].run(rows, ("logits",)),
        "raw": _bare(work / "int8.onnx", rows),
        "torch": run_torch,
    }


def _bare(graph: Path, rows: Sequence[Row]) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    arrays = pad(rows, 0)
    feeds = {tensor.name: arrays[tensor.name] for tensor in session.get_inputs()}
    return lambda: session.run(["logits"], feeds)


def _cpu_seconds(run: Callable[[], object], times: int = 10) -> float:
    start = time.process_time()
    for _ in range(times):
        run()
    return (time.process_time() - start) / times


if __name__ == "__main__":
    for line in chain(machine(), report()):
        rich.get_console().print(line, soft_wrap=True)
