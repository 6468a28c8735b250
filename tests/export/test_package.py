"""A package is used as it was made, or not at all."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from export.package import DamagedFile, Manifest, MissingFile, WrongFormat, file_digest, is_package, open_package
from export.verification import verify_package
from tests.export.conftest import copied
from tests.service.tiny import build_package, reseal

FILES = ("README.md", "config.json", "model.onnx", "tokenizer.json", "tokenizer_config.json")


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def test_a_fresh_package_holds_what_its_manifest_lists_and_nothing_else(package: Path) -> None:
    opened = open_package(package)
    assert sorted(opened.manifest.files) == sorted(FILES)
    assert sorted(path.name for path in package.iterdir()) == sorted([*FILES, "package.json"])


@pytest.mark.parametrize("damage", [_flip_a_bit, _cut_in_half, _empty, _append])
@pytest.mark.parametrize("file", FILES)
def test_a_changed_file_is_refused_by_its_name(
    package: Path, tmp_path: Path, file: str, damage: Callable[[Path], None]
) -> None:
    folder = copied(package, tmp_path)
    damage(folder / file)
    with pytest.raises(DamagedFile, match=f"{file}: not the file the package was made with"):
        open_package(folder)


@pytest.mark.parametrize("file", [*FILES, "package.json"])
def test_a_missing_file_is_refused_by_its_name(package: Path, tmp_path: Path, file: str) -> None:
    folder = copied(package, tmp_path)
    (folder / file).unlink()
    with pytest.raises(MissingFile, match=f"{file}: missing"):
        open_package(folder)


def test_a_checkpoint_is_told_the_command_that_makes_a_package_of_it(tmp_path: Path) -> None:
    """It can be pasted, whatever the name."""
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "training.json").write_text("{}")
    with pytest.raises(MissingFile, match=f"`steadfast export '{folder}' -o PACKAGE` makes a package of it"):
        open_package(folder)


def test_a_folder_that_is_not_there_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="nowhere: no such folder; a package is a folder made by"):
        open_package(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", [_cut_in_half, _empty])
def test_a_manifest_that_is_cut_short_is_refused(package: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = copied(package, tmp_path)
    damage(folder / "package.json")
    with pytest.raises(WrongFormat, match=r"package\.json: is no JSON"):
        open_package(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("precision", "fp32"),
        ("labels", ["positive", "negative"]),
        ("max_tokens", 16),
        ("metrics", {"validation": {"accuracy": 1.0}}),
        ("probes", []),
        ("digest", "0" * 64),
        ("digest", ""),
    ],
)
def test_a_manifest_that_was_edited_is_refused(package: Path, tmp_path: Path, field: str, value: object) -> None:
    folder = copied(package, tmp_path)
    _edit(folder, **{field: value})
    with pytest.raises(DamagedFile, match=r"package\.json: changed since the package was made"):
        open_package(folder)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("format", 2, "format: must be 1; was it made by another version"),
        ("surprise", 1, "surprise: is not known here"),
        ("labels", [], "labels: must hold at least 1 entry"),
        ("pad_id", None, "pad_id: must be a whole number"),
    ],
)
def test_a_manifest_of_another_format_is_refused_by_the_field(
    package: Path, tmp_path: Path, field: str, value: object, message: str
) -> None:
    folder = copied(package, tmp_path)
    _edit(folder, **{field: value})
    with pytest.raises(WrongFormat, match=message):
        open_package(folder)


def test_a_manifest_that_names_a_file_outside_the_package_is_refused(package: Path, tmp_path: Path) -> None:
    folder = copied(package, tmp_path)
    (tmp_path / "outside").write_bytes(b"")
    manifest = open_package(folder).manifest
    _reseal(folder, manifest.model_copy(update={"files": {**manifest.files, "../outside": "0" * 64}}))
    with pytest.raises(WrongFormat, match=r"names a file outside the package, '\.\./outside'"):
        open_package(folder)


def test_a_manifest_of_an_unknown_task_is_refused_with_the_tasks_there_are(package: Path, tmp_path: Path) -> None:
    folder = copied(package, tmp_path)
    _reseal(folder, open_package(folder).manifest.model_copy(update={"task": "weather"}))
    with pytest.raises(WrongFormat, match=r"no task 'weather' here; this version knows: .*sentiment"):
        open_package(folder)


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json"])
def test_a_manifest_without_a_needed_file_is_refused(package: Path, tmp_path: Path, file: str) -> None:
    folder = copied(package, tmp_path)
    manifest = open_package(folder).manifest
    rest = {name: digest for name, digest in manifest.files.items() if name != file}
    _reseal(folder, manifest.model_copy(update={"files": rest}))
    with pytest.raises(WrongFormat, match=f"lists no {file}"):
        open_package(folder)


def test_the_digest_names_the_content(package: Path) -> None:
    manifest = open_package(package).manifest
    assert manifest.sealed().digest == manifest.digest
    assert manifest.model_copy(update={"name": "other"}).sealed().digest != manifest.digest


def _save_apart(folder: Path, name: str = "weights.bin") -> str:
    """Move the weights of a package's graph to a file beside it, and return the file's name."""
    graph = onnx.load(folder / "model.onnx")
    onnx.save(graph, folder / "model.onnx", save_as_external_data=True, location=name, size_threshold=0)
    return name


@pytest.mark.parametrize("is_listed", [False, True])
def test_a_graph_with_weights_in_other_files_is_refused(tmp_path: Path, is_listed: bool) -> None:
    folder = build_package(tmp_path / "apart")
    names = ["model.onnx", "tokenizer.json"] + [_save_apart(folder)] * is_listed
    reseal(folder, files={name: file_digest(folder / name) for name in names})
    with pytest.raises(WrongFormat, match=r"model\.onnx: keeps weights in other files \(ONNX external data\)"):
        open_package(folder)


def test_a_graph_may_have_its_weights_in_a_listed_file_that_is_named_after_it(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "apart")
    names = ["model.onnx", "tokenizer.json", _save_apart(folder, "model.onnx.data")]
    reseal(folder, files={name: file_digest(folder / name) for name in names})
    assert open_package(folder).has_data_file
    (folder / "model.onnx.data").write_bytes(b"other weights")
    with pytest.raises(DamagedFile, match=r"model\.onnx\.data: not the file the package was made with"):
        open_package(folder)
    (folder / "model.onnx.data").unlink()
    with pytest.raises(MissingFile, match=r"model\.onnx\.data: missing; the package was not copied whole"):
        open_package(folder)


def test_a_graph_with_weights_in_a_listed_file_and_in_another_is_refused(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "apart")
    names = ["model.onnx", "tokenizer.json", _save_apart(folder, "model.onnx.data")]
    graph = onnx.load(folder / "model.onnx", load_external_data=False)
    graph.graph.initializer[-1].external_data[0].value = "model.onnx.data2"
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    reseal(folder, files={name: file_digest(folder / name) for name in names})
    with pytest.raises(WrongFormat, match=r"which the manifest does not list as model\.onnx\.data; export again"):
        open_package(folder)


def test_an_entry_with_two_names_is_refused_because_readers_take_the_last(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "apart")
    names = ["model.onnx", "tokenizer.json", _save_apart(folder, "model.onnx.data")]
    content = (folder / "model.onnx").read_bytes()
    entry = onnx.StringStringEntryProto(key="location", value="model.onnx.data").SerializeToString()
    # What follows the name is in the entry too then, whatever it is.
    at = content.index(entry)
    assert content[at - 1] == len(entry)
    (folder / "model.onnx").write_bytes(content[: at - 1] + bytes((len(entry) + 4,)) + content[at:])
    reseal(folder, files={name: file_digest(folder / name) for name in names})
    with pytest.raises(WrongFormat, match=r"which the manifest does not list as model\.onnx\.data; export again"):
        open_package(folder)


def test_a_graph_that_speaks_of_locations_is_no_such_graph(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "tiny")
    graph = onnx.load(folder / "model.onnx")
    graph.doc_string = "location locations location"
    graph.graph.node[0].name = "embed/location"
    onnx.save(graph, folder / "model.onnx")
    reseal(folder, files={name: file_digest(folder / name) for name in ("model.onnx", "tokenizer.json")})
    assert open_package(folder).graph == folder / "model.onnx"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 10**12),
        ("max_tokens", 10**30),
        ("max_tokens", -1),
        ("pad_id", 10**12),
        ("pad_id", 10**30),
        ("no_answer_threshold", 1e400),
        ("score_range", [0, 1e400]),
        ("metrics", {"x": {"accuracy": -1e400}}),
    ],
    ids=str,
)
def test_an_absurd_number_is_refused_by_its_field(tmp_path: Path, field: str, value: object) -> None:
    folder = build_package(tmp_path / "tiny")
    _edit(folder, **{field: value})
    with pytest.raises(WrongFormat, match=rf"package\.json: {field}.*; was it made by another version"):
        open_package(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": ["a"]}, "two labels or more are needed"),
        ({"labels": ["a", "a"]}, "labels: 'a' stands there twice; export again"),
        ({"labels": ["a", "b", "c"]}, "3 labels, and the graph has 2 logits for them; export again"),
        ({"probes": [{"item": {"x": 1}, "outputs": {"logits": [[1.0]]}}]}, "probe 1 is no input of sentiment: text"),
        ({"probes": [{"item": {"text": "a"}, "outputs": {}}]}, "probe 1 records other outputs"),
        ({"probes": [{"item": {"text": "a"}, "outputs": {"logits": []}}]}, "probe 1 records other outputs"),
        ({"probes": [{"item": {"text": "a"}, "outputs": {"x": [[1.0]]}}]}, "probe 1 records other outputs"),
    ],
)
def test_a_manifest_that_does_not_fit_its_task_is_refused(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    folder = build_package(tmp_path / "tiny")
    reseal(folder, **changes)
    with pytest.raises(WrongFormat, match=rf"package\.json: {reason}"):
        open_package(folder)


def test_padding_with_a_token_that_there_is_not_is_refused(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "tiny")
    reseal(folder, pad_id=5_000)
    with pytest.raises(WrongFormat, match="pad_id 5000 is no token of tokenizer"):
        open_package(folder).reader()


def test_a_graph_that_cannot_be_computed_fails_a_check(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "tiny")
    outputs = json.loads((folder / "package.json").read_text())["outputs"]
    named = [{"name": "x", "dtype": "float32", "axes": []}]
    probe = {"item": {"text": "a"}, "outputs": {"x": [[1.0]]}}
    reseal(folder, outputs=outputs + named, probes=[probe])
    report = verify_package(folder)
    assert [check.name for check in report.checks if not check.passed] == ["graph"]


def test_a_checkpoint_is_no_package(package: Path, checkpoint: Path) -> None:
    assert is_package(package)
    assert not is_package(checkpoint)


def _edit(folder: Path, **changed: object) -> None:
    path = folder / "package.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def _reseal(folder: Path, manifest: Manifest) -> None:
    (folder / "package.json").write_text(manifest.sealed().model_dump_json())
