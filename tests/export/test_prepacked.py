"""The cache of packed weights: who shares it, and all that must not be loaded from it."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from export.package import DamagedFile, file_digest
from export.prepacked import DAY_S, FOLDER, MOST_ENTRIES, open_session
from export.providers import ProviderMissing
from export.session import Session
from models.text import Row

ROOT = Path(__file__).parents[2]
NOBODY = 65_534
WIDTH = 64
WORDS = Tokenizer(WordLevel({str(number): number for number in range(10)}))
WORDS.pre_tokenizer = Whitespace()
ROWS = [Row(WORDS.encode(text), segments=()) for text in ("3 1 4 1 5", "9 2 6")]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_graph(tmp_path_factory.mktemp("graph") / "model.onnx")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def entry(graph: Path, cache: Path) -> Path:
    """An entry of the cache."""
    load(graph, cache)
    (entry,) = entries(cache)
    return entry


def write_graph(path: Path, seed: int = 0) -> Path:
    """A graph with int8 and float products, whose `attention` is computed where asked for, in an `If`.

    The branch has a constant of its own, and shares others with the graph around it.
    """
    draw = np.random.default_rng(seed)
    constants = {
        "table": draw.standard_normal((10, WIDTH), dtype=np.float32),
        "exact": draw.standard_normal((WIDTH, WIDTH), dtype=np.float32),
        "rounded": draw.integers(-60, 60, (WIDTH, WIDTH)).astype(np.int8),
        "step": np.float32(0.02), "zero": np.int8(0), "wide_step": np.float32(0.1), "middle": np.uint8(128),
        "first": np.array(0), "last": np.array([-1]), "tokens": np.array([1]),
    }  # fmt: skip
    node, info = helper.make_node, helper.make_tensor_value_info
    axes = ["batch", "sequence"]

    def product(source: str, name: str) -> list[onnx.NodeProto]:
        return [
            node("QuantizeLinear", [source, "wide_step", "middle"], [f"{name}_q"]),
            node("DequantizeLinear", [f"{name}_q", "wide_step", "middle"], [f"{name}_x"]),
            node("DequantizeLinear", ["rounded", "step", "zero"], [f"{name}_w"]),
            node("MatMul", [f"{name}_x", f"{name}_w"], [name]),
        ]

    inner = numpy_helper.from_array(draw.standard_normal((WIDTH, WIDTH), dtype=np.float32), "inner")
    explain = helper.make_graph(
        [
            node("MatMul", ["hidden", "exact"], ["once"]),
            node("MatMul", ["once", "inner"], ["twice"]),
            *product("twice", "thrice"),
            node("ReduceSum", ["thrice", "last"], ["explained"], keepdims=0),
        ],
        "explain", [], [info("explained", TensorProto.FLOAT, axes)], [inner],
    )  # fmt: skip
    nothing = helper.make_graph(
        [node("Constant", [], ["empty"], value=numpy_helper.from_array(np.zeros((0, 0), np.float32)))],
        "nothing", [], [info("empty", TensorProto.FLOAT, ["none", "nothing"])],
    )  # fmt: skip
    nodes = [
        node("Gather", ["table", "input_ids"], ["words"]),
        node("MatMul", ["words", "exact"], ["hidden"]),
        *product("hidden", "judged"),
        node("ReduceSum", ["judged", "tokens"], ["logits"], keepdims=0),
        node("Gather", ["explain", "first"], ["wanted"]),
        node("If", ["wanted"], ["attention"], then_branch=explain, else_branch=nothing),
    ]
    inputs = [info("input_ids", TensorProto.INT64, axes), info("explain", TensorProto.BOOL, [1])]
    outputs = [info("logits", TensorProto.FLOAT, ["batch", WIDTH]), info("attention", TensorProto.FLOAT, axes)]
    whole = helper.make_graph(
        nodes, "tiny", inputs, outputs, [numpy_helper.from_array(array, name) for name, array in constants.items()]
    )
    onnx.save(helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def load(graph: Path, cache: Path | None, digest: str = "") -> Session:
    return open_session(graph, digest or file_digest(graph), cache=cache, pad_id=0)


def outputs(session: Session) -> str:
    """A digest of every bit of the outputs."""
    bits = hashlib.sha256()
    for names in (("logits",), ("logits", "attention")):
        for arrays in session.run(ROWS, names):
            for array in arrays.values():
                bits.update(array.tobytes())
    return bits.hexdigest()


def entries(cache: Path) -> list[Path]:
    return sorted((cache / FOLDER).iterdir())


def written(entry: Path) -> dict[str, tuple[int, int]]:
    """The files of an entry, and numbers that differ when one is written again."""
    return {file.name: (file.stat().st_ino, file.stat().st_ctime_ns) for file in entry.iterdir()}


def mapped_files() -> str:
    return Path("/proc/self/maps").read_text()


def test_answers_are_the_same_bits_and_the_file_is_mapped(graph: Path, cache: Path) -> None:
    own, shared = load(graph, None), load(graph, cache)
    assert outputs(own) == outputs(shared)
    (entry,) = entries(cache)
    assert {file.name for file in entry.iterdir()} == {"entry.json", "model.onnx", "weights.bin"}
    assert str(entry / "weights.bin") in mapped_files()


def test_weights_are_packed_in_branches_of_the_graph_too(entry: Path) -> None:
    def packed(graph: onnx.GraphProto) -> Iterator[str]:
        for tensor in graph.initializer:
            if any(part.key.startswith("prepacked") for part in tensor.external_data):
                yield tensor.name
        for node in graph.node:
            for attribute in node.attribute:
                yield from packed(attribute.g)

    optimised = onnx.load(entry / "model.onnx", load_external_data=False)
    assert set(packed(optimised.graph)) == {"exact", "rounded", "inner"}


def write_odd_graph(path: Path) -> Path:
    """A table of 33 rows of 8 floats, whose 1056 bytes are no multiple of 64, before a product with float weights."""
    draw = np.random.default_rng(0)
    constants = {"table": (33, 8), "wide": (8, WIDTH), "square": (WIDTH, WIDTH)}
    arrays = {name: draw.standard_normal(shape, dtype=np.float32) for name, shape in constants.items()}
    node, info = helper.make_node, helper.make_tensor_value_info
    axes = ["batch", "sequence"]
    nodes = [
        node("Gather", ["table", "input_ids"], ["words"]),
        node("MatMul", ["words", "wide"], ["hidden"]),
        node("MatMul", ["hidden", "square"], ["logits"]),
    ]
    whole = helper.make_graph(
        nodes, "odd", [info("input_ids", TensorProto.INT64, axes)], [info("logits", TensorProto.FLOAT, [*axes, WIDTH])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def test_weights_that_would_be_packed_at_odd_bytes_are_kept_as_they_are(tmp_path: Path, cache: Path) -> None:
    """ONNX Runtime reads packed float weights by instructions that end the process where they are not aligned."""
    graph = write_odd_graph(tmp_path / "odd.onnx")
    expected, found = (load(graph, folder).run(ROWS, ("logits",)) for folder in (None, cache))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["logits"].tobytes() == theirs["logits"].tobytes()
    (entry,) = entries(cache)
    optimised = onnx.load(entry / "model.onnx", load_external_data=False)
    kept = {tensor.name: [part.key for part in tensor.external_data] for tensor in optimised.graph.initializer}
    assert kept == {name: ["location", "offset", "length"] for name in ("table", "wide", "square")}


def test_an_entry_of_an_earlier_version_with_weights_at_odd_bytes_is_written_anew(tmp_path: Path, cache: Path) -> None:
    graph = write_odd_graph(tmp_path / "odd.onnx")
    load(graph, cache)
    (entry,) = entries(cache)
    (entry / "weights.bin").unlink()
    write_packed(graph, entry)
    record = json.loads((entry / "entry.json").read_text())
    record["files"] = {name: file_digest(entry / name) for name in ("model.onnx", "weights.bin")}
    record["weights"] = []
    (entry / "entry.json").write_text(json.dumps(record))
    assert b"MatMul+" in (entry / "model.onnx").read_bytes()
    assert load(graph, cache).run(ROWS, ("logits",))
    assert b"MatMul+" not in (entry / "model.onnx").read_bytes()


def write_packed(graph: Path, entry: Path) -> None:
    """Let ONNX Runtime write an entry's graph and weights as it lays them out itself."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(entry / "model.onnx")
    for name, value in (
        ("save_external_prepacked_constant_initializers", "1"),
        ("optimized_model_external_initializers_file_name", "weights.bin"),
        ("optimized_model_external_initializers_min_size_in_bytes", "1024"),
    ):
        options.add_session_config_entry(f"session.{name}", value)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    for file in ("model.onnx", "weights.bin"):
        (entry / file).chmod(0o600)


def test_an_entry_is_named_by_its_graph_and_the_version_that_reads_it(graph: Path, entry: Path) -> None:
    assert entry.name.startswith(f"{file_digest(graph)}-{onnxruntime.__version__}-")


def test_an_entry_is_written_once(graph: Path, cache: Path, entry: Path) -> None:
    before = written(entry)
    load(graph, cache)
    assert written(entry) == before


def test_a_slow_fusion_is_left_out_of_what_is_written(tmp_path: Path, cache: Path) -> None:
    node, info = helper.make_node, helper.make_tensor_value_info
    ones = numpy_helper.from_array(np.ones(WIDTH, np.float32), "ones")
    nodes = [
        node("Add", ["a", "b"], ["sum"]),
        node("LayerNormalization", ["sum", "ones", "ones"], ["logits"], axis=-1),
    ]
    axes = ["batch", "sequence", WIDTH]
    inputs = [info(name, TensorProto.FLOAT, axes) for name in "ab"]
    whole = helper.make_graph(nodes, "norm", inputs, [info("logits", TensorProto.FLOAT, axes)], [ones])
    onnx.save(helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), tmp_path / "norm")
    load(tmp_path / "norm", cache)
    (entry,) = entries(cache)
    assert [each.op_type for each in onnx.load(entry / "model.onnx").graph.node] == ["Add", "LayerNormalization"]


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def flip_unseen(file: Path) -> None:
    """Change a file and set its times to what they were, as far as a program can."""
    before = file.stat()
    flip(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def link(file: Path) -> None:
    """Put a symbolic link to the same content in place of a file."""
    file.rename(file.parents[2] / file.name)
    file.symlink_to(file.parents[2] / file.name)


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("name", ["entry.json", "model.onnx", "weights.bin"])
@pytest.mark.parametrize("damage", [flip, flip_unseen, cut, empty, link, make_folder, Path.unlink])
def test_a_damaged_entry_is_written_anew(
    graph: Path, cache: Path, entry: Path, name: str, damage: Callable[[Path], None]
) -> None:
    before = written(entry)
    damage(entry / name)
    assert outputs(load(graph, cache)) == outputs(load(graph, None))
    assert entries(cache) == [entry]
    after = written(entry)
    assert all(after[each] != before[each] for each in before)
    load(graph, cache)
    assert written(entry) == after


def rewrite(**changes: object) -> Callable[[Path], None]:
    def change(entry: Path) -> None:
        record = json.loads((entry / "entry.json").read_bytes()) | changes
        (entry / "entry.json").write_text(json.dumps(record))

    return change


def add_file(entry: Path) -> None:
    (entry / "more.bin").touch()


def open_to_others(entry: Path) -> None:
    entry.chmod(0o750)


def replace_by_file(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.touch()


def replace_by_link(entry: Path) -> None:
    entry.rename(entry.parents[1] / "elsewhere")
    entry.symlink_to(entry.parents[1] / "elsewhere")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rewrite(graph="0" * 64), "made for another graph, ONNX Runtime or CPU"),
        (rewrite(machine="0" * 64), "made for another graph, ONNX Runtime or CPU"),
        (rewrite(format=2), "entry.json: format"),
        (rewrite(surplus=1), "entry.json: surplus"),
        (rewrite(files={}), "holds other files than were written"),
        (rewrite(files={"../model.onnx": ""}), "holds other files than were written"),
        (add_file, "holds other files than were written"),
        (open_to_others, "its mode is 750 and must be 700"),
        (replace_by_file, "not a folder, or a link to one"),
        (replace_by_link, "not a folder, or a link to one"),
    ],
)
def test_a_foreign_entry_is_written_anew_and_the_log_says_why(
    graph: Path, cache: Path, entry: Path, change: Callable[[Path], None], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    change(entry)
    assert outputs(load(graph, cache)) == outputs(load(graph, None))
    assert said in caplog.text
    assert "it is written anew" in caplog.text
    caplog.clear()
    load(graph, cache)
    assert caplog.text == ""
    assert entry.is_dir()
    assert not entry.is_symlink()


def test_what_a_link_leads_to_is_left_alone(graph: Path, cache: Path, entry: Path) -> None:
    replace_by_link(entry)
    before = written(cache / "elsewhere")
    load(graph, cache)
    assert written(cache / "elsewhere") == before


def test_graphs_do_not_share_an_entry(graph: Path, cache: Path, tmp_path: Path) -> None:
    other = write_graph(tmp_path / "other.onnx", seed=1)
    assert outputs(load(other, cache)) == outputs(load(other, None)) != outputs(load(graph, cache))
    assert len(entries(cache)) == 2


def test_a_graph_that_was_exchanged_is_not_kept_under_the_digest_of_another(graph: Path, cache: Path) -> None:
    with pytest.raises(DamagedFile, match="changed since its package was opened"):
        load(graph, cache, digest="0" * 64)
    assert entries(cache) == []


def test_without_a_folder_or_with_another_provider_nothing_is_written(graph: Path, cache: Path) -> None:
    load(graph, None)
    with pytest.raises(ProviderMissing):
        open_session(graph, file_digest(graph), cache=cache, pad_id=0, provider="cuda")
    assert not cache.exists()


@contextmanager
def being_nobody() -> Iterator[Path]:
    """A folder of the user who runs this block: one without rights if the tests run as root."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() != 0:
            yield Path(folder)
            return
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


def make_read_only(cache: Path) -> None:
    cache.mkdir(mode=0o500)


def make_open(cache: Path) -> None:
    (cache / FOLDER).mkdir(parents=True)
    (cache / FOLDER).chmod(0o755)


def make_link(cache: Path) -> None:
    (cache / "elsewhere").mkdir(mode=0o700, parents=True)
    (cache / FOLDER).symlink_to(cache / "elsewhere")


def make_locked(cache: Path) -> None:
    (cache / FOLDER).mkdir(parents=True)
    (cache / FOLDER).chmod(0o000)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (make_read_only, "Permission denied"),
        (Path.touch, "cache: File exists"),
        (make_open, "its mode is 755 and must be 700"),
        (make_link, "not a folder, or a link to one"),
        (make_locked, "Permission denied"),
    ],
)
def test_where_the_cache_cannot_be_used_the_graph_is_loaded_and_one_line_says_why(
    graph: Path, make: Callable[[Path], None], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    content = graph.read_bytes()
    with being_nobody() as folder:
        (folder / "model.onnx").write_bytes(content)
        make(folder / "cache")
        found = [outputs(load(folder / "model.onnx", folder / "cache")) for _ in range(2)]
    assert found == [outputs(load(graph, None))] * 2
    assert caplog.text.count("\n") == 1
    assert said in caplog.text
    assert "set STEADFAST_CACHE to another folder, or to off" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_another_user_is_not_used(graph: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    (cache / FOLDER).mkdir(mode=0o700, parents=True)
    os.chown(cache / FOLDER, NOBODY, NOBODY)
    load(graph, cache)
    assert "belongs to another user" in caplog.text
    assert entries(cache) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", [".", "entry.json", "weights.bin"])
def test_a_file_of_another_user_is_not_loaded(
    graph: Path, cache: Path, entry: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    os.chown(entry / name, NOBODY, NOBODY)
    load(graph, cache)
    assert "belongs to another user; it is written anew" in caplog.text
    assert {path.stat().st_uid for path in (entry, *entry.iterdir())} == {0}


def test_a_cache_that_can_only_be_read_is_used(graph: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = graph.read_bytes()
    with being_nobody() as folder:
        (folder / "model.onnx").write_bytes(content)
        load(folder / "model.onnx", folder / "cache")
        (folder / "cache" / FOLDER).chmod(0o500)
        session = load(folder / "model.onnx", folder / "cache")
        assert str(folder / "cache" / FOLDER) in mapped_files()
        (folder / "cache" / FOLDER).chmod(0o700)
    assert outputs(session) == outputs(load(graph, None))
    assert caplog.text == ""


@pytest.mark.parametrize("damaged", [False, True])
def test_processes_that_start_at_once_do_not_disturb_each_other(graph: Path, cache: Path, damaged: bool) -> None:
    if damaged:
        load(graph, cache)
        flip(entries(cache)[0] / "weights.bin")
    script = (
        "import sys; from pathlib import Path; from tests.export.test_prepacked import load, outputs\n"
        "graph, cache = map(Path, sys.argv[1:])\n"
        "print('ready', flush=True); sys.stdin.readline(); print(outputs(load(graph, cache)))"
    )
    command = [sys.executable, "-c", script, str(graph), str(cache)]
    processes = [
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers, said = zip(*(process.communicate() for process in processes), strict=True)
    assert [answer.strip() for answer in answers] == [outputs(load(graph, None))] * 4
    assert "processes do not share weights" not in "".join(said)
    (entry,) = entries(cache)
    before = written(entry)
    load(graph, cache)
    assert written(entry) == before


@pytest.mark.parametrize("pause_s", [0.0, 0.003, 0.007, 0.02, 0.05])
def test_an_interrupt_leaves_no_half_entry(graph: Path, tmp_path: Path, pause_s: float) -> None:
    script = (
        "import signal, sys; from pathlib import Path; from tests.export.test_prepacked import load\n"
        # A shell has what runs in its background ignore interrupts, and so these tests where they run there.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "graph, folder = map(Path, sys.argv[1:])\n"
        "for number in range(10_000):\n"
        "    print(number, flush=True); load(graph, folder / str(number))"
    )
    command = [sys.executable, "-c", script, str(graph), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        time.sleep(pause_s)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    caches = list(tmp_path.iterdir())
    assert len(caches) >= 2
    for cache in caches:
        for entry in entries(cache) if (cache / FOLDER).exists() else []:
            if entry.name.startswith("."):
                # A scratch folder is no entry: an interrupt just before its clean-up is set leaves it for an hour.
                continue
            assert {file.name for file in entry.iterdir()} == {"entry.json", "model.onnx", "weights.bin"}
            before = written(entry)
            load(graph, cache)
            assert written(entry) == before


def test_what_nobody_uses_is_dropped(graph: Path, cache: Path, tmp_path: Path) -> None:
    def leave(name: str, days: float) -> Path:
        made = cache / FOLDER / name
        made.mkdir()
        (made / "file").touch()
        os.utime(made, (time.time() - days * DAY_S,) * 2)
        return made

    load(graph, cache)
    (kept,) = entries(cache)
    old, killed = leave("old", days=31), leave(".killed", days=0.1)
    writing = leave(".writing", days=0.01)
    load(write_graph(tmp_path / "second.onnx", seed=1), cache)
    assert {path.exists() for path in (old, killed)} == {False}
    assert {path.exists() for path in (kept, writing)} == {True}
    left = [leave(str(days), days=days) for days in range(2, MOST_ENTRIES + 2)]
    recent = [leave(f"today{number}", days=0.5) for number in range(MOST_ENTRIES)]
    load(write_graph(tmp_path / "third.onnx", seed=2), cache)
    assert {path.exists() for path in left} == {False}
    assert {path.exists() for path in (kept, *recent)} == {True}


def test_an_entry_in_use_counts_as_new(graph: Path, cache: Path, entry: Path, tmp_path: Path) -> None:
    os.utime(entry, (0, 0))
    load(graph, cache)
    load(write_graph(tmp_path / "second.onnx", seed=1), cache)
    assert entry in entries(cache)
