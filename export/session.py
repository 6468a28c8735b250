"""Runs a package's graph under ONNX Runtime: takes rows and returns the outputs of each."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from export.package import ContributionOutput, ShareOutput, open_package
from export.providers import PROVIDERS, ProviderMissing, ProviderName, chosen_providers
from export.runtime import onnxruntime
from models.machine import map_blocks
from models.tasks.task import AnyTask, Logits, Outputs
from models.text import Reader, Row, pad, pad_targets

if TYPE_CHECKING:
    from models.evaluation import EvaluatedModel

Arrays = dict[str, npt.NDArray[np.float32]]
"""One row's outputs by name. `logits` has the shape that its task expects; the others have one number for each
token."""

SHARES: tuple[ShareOutput, ...] = get_args(ShareOutput)
"""The outputs that share 1 among the tokens of a row."""

CONTRIBUTIONS: tuple[ContributionOutput, ...] = get_args(ContributionOutput)
"""The outputs that take apart the sum of logits which the input `target` asks for."""

OUTPUTS = ("logits", *SHARES, *CONTRIBUTIONS)
"""All outputs that a graph may have."""

EXPLAIN_INPUT = "explain"
"""The input with a flag for each output but the logits, in their order: whether to compute it."""

TARGET_INPUT = "target"
"""The input with the sum of logits that is taken apart, in the logits' shape; a row of zeros leaves the
choice to the graph, and without rows nothing is read."""

# ONNX Runtime 1.31 fuses an addition and the LayerNormalization after it into a kernel that takes five times as long as
# the two apart: a quarter of a MiniLM int8 run.
SLOW_FUSIONS = ("SkipLayerNormFusion",)

BLOCK_BYTES = 1_048_576
"""The size of the smallest blocks that ONNX Runtime's arena asks for."""


class Session:
    """One graph, ready to run. Safe to call from several threads at once."""

    def __init__(self, graph: Path, *, pad_id: int, provider: ProviderName = "cpu", optimize: bool = True) -> None:
        """Load `graph`. Each call of `run` computes on one thread of the CPU, or on the device of `provider`.

        A graph that is optimised already loads faster without `optimize`.

        Raises:
            ProviderMissing: the provider is not installed here, or does not start.
        """
        providers = chosen_providers(provider)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # ONNX Runtime would look, as it loads, for a buffer that each tensor could take over from an earlier one. That
        # takes time by the square of the nodes, two thirds of loading a MiniLM that explains, and finds next to
        # nothing, because no sizes are known yet. At runs the arena gives out freed memory anyway.
        options.enable_mem_reuse = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        _share_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
        # Errors only: it warns that the inputs which ask for explanations have defaults, which they must.
        options.log_severity_level = 3
        if not optimize:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(
            str(graph), options, providers=providers, disabled_optimizers=SLOW_FUSIONS
        )
        wanted = PROVIDERS[provider].called
        if wanted not in self._session.get_providers():
            raise ProviderMissing(
                f"ONNX Runtime has {wanted} but could not start it; its log says which library or device is missing"
            )
        self._pad_id = pad_id
        inputs = [*self._session.get_inputs(), *self._session.get_overridable_initializers()]
        self._inputs = [tensor.name for tensor in inputs]
        self.outputs = tuple(tensor.name for tensor in self._session.get_outputs())
        self._by_token = {tensor.name for tensor in self._session.get_outputs() if "sequence" in tensor.shape}
        self._target_shape: list[int | str] = next(
            (tensor.shape for tensor in inputs if tensor.name == TARGET_INPUT), []
        )

    @property
    def reads_anywhere(self) -> bool:
        """Whether attention and rollout are read at each row's `read_at` instead of at the first token."""
        return "read_at" in self._inputs

    def run(self, rows: Sequence[Row], outputs: Sequence[str]) -> list[Arrays]:
        """Compute one padded batch, and return the wanted outputs of each row in the order given, without padding."""
        computed = self.run_padded(rows, outputs)
        return [
            {
                name: array[index, : len(row)] if name in self._by_token else array[index]
                for name, array in computed.items()
            }
            for index, row in enumerate(rows)
        ]

    def run_padded(self, rows: Sequence[Row], outputs: Sequence[str]) -> Arrays:
        """Compute one padded batch, and return the wanted outputs as the graph gives them, with padding."""
        arrays = {**pad(rows, self._pad_id), **self._explaining_inputs(rows, outputs)}
        feeds = {name: arrays[name] for name in self._inputs}
        return dict(zip(outputs, self._session.run(list(outputs), feeds), strict=True))

    def release_memory(self, row: Row) -> None:
        """Compute `row`, and give the system back what earlier, larger batches of any graph took and none uses now."""
        arrays = {**pad([row], self._pad_id), **self._explaining_inputs([row], ("logits",))}
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._session.run(["logits"], {name: arrays[name] for name in self._inputs}, options)

    def _explaining_inputs(self, rows: Sequence[Row], outputs: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """The inputs that tell a graph which explanations to compute, and of which logits.

        Graphs of earlier versions have no such inputs, and compute all their explanations at every run.
        """
        if EXPLAIN_INPUT not in self._inputs:
            return {}
        flags = np.array([name in outputs for name in self.outputs if name != "logits"])
        explained = () if set(CONTRIBUTIONS).isdisjoint(outputs) else rows
        width = max(map(len, rows))
        sizes = [width if size == "sequence" else int(size) for size in self._target_shape[1:]]
        return {EXPLAIN_INPUT: flags, TARGET_INPUT: pad_targets(explained, sizes)}


@cache
def _share_memory() -> None:
    """Let all graphs of this process compute in one arena, which grows to the memory of the largest concurrent batches.

    Usually each graph has its own arena and keeps the memory of its largest batch. With 4 small models and 240 batches
    of mixed lengths, that took 157 MB on top of the weights; one arena took 45 MB. No arena at all took 35 MB, but some
    7 % more time.
    """
    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    memory = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    onnxruntime.create_and_register_allocator(memory, None)
    # In heaps its blocks would lie among what stays, scattered ever more.
    map_blocks(BLOCK_BYTES)


def open_packaged_model(folder: Path) -> "EvaluatedModel":
    """Open the package in `folder` to measure it under ONNX Runtime; raises as `open_package` does."""
    package = open_package(folder)
    manifest = package.manifest
    return evaluated_graph(
        package.graph, task=package.task, outputs=manifest.meaning, reader=package.reader(), pad_id=manifest.pad_id
    )


def evaluated_graph(
    graph: Path, *, task: AnyTask, outputs: Outputs, reader: Reader, pad_id: int, batch_size: int = 32
) -> "EvaluatedModel":
    """Open a graph to measure it, whether or not it is in a package yet."""
    # Here, not at the top: serving measures nothing, and this import loads the code that reads data files.
    from models.evaluation import EvaluatedModel, by_length

    session = Session(graph, pad_id=pad_id)

    def run_batch(rows: Sequence[Row]) -> list[Logits]:
        return [arrays["logits"] for arrays in session.run(rows, ("logits",))]

    return EvaluatedModel(
        task=task, outputs=outputs, reader=reader, run=lambda rows: by_length(rows, run_batch, batch_size)
    )
