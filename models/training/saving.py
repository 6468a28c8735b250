"""The files of a run: its claim on a folder, the state to go on from, the weights of its best epoch, the checkpoint."""

import importlib.metadata
import json
import platform
import shutil
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from models.atomic import atomic_write, atomic_write_text
from models.checkpoint import CLAIM_FILE, METHOD_FILE, RECORD_FILE, EpochRecord, MethodRecord, TrainingRecord
from models.errors import LONGEST_NAME
from models.folders import locked
from models.networks.loading import ONE_FILE
from models.robust import read_settings
from models.tokenizer import without_padding
from models.training.resume import load_state, read_saved, save_state
from models.training.run import Run, RunState
from models.training.settings import TrainingError, TrainingSettings

STATE_FILE = "state.safetensors"

RECORDED_APART = frozenset(
    (
        "task",
        "method",
        "base",
        "base_name",
        "source",
        "labels",
        "score_range",
        "no_answer_threshold",
        "label_threshold",
        "outside_threshold",
        "max_tokens",
        "seed",
        "method_settings",
        "licences",
    )
)
"""Settings that have a field of their own in `training.json`, beside its `settings`."""

RECORDED_VERSIONS = ("torch", "transformers", "tokenizers", "accelerate")


def check_claim(settings: TrainingSettings, work: Path, unknown: Container[str] = ()) -> None:
    """Refuse a `work` that belongs to a run with other settings; those that are `unknown` yet are not compared.

    A run that has saved nothing yet loses nothing, so its folder is free.

    Raises:
        TrainingError: says which settings differ, and how.
    """
    claim = work / CLAIM_FILE
    if claim.is_file() and (work / STATE_FILE).is_file():
        wanted, there = settings.model_dump(mode="json"), json.loads(claim.read_text())
        now, before = _flat(wanted), _flat({name: there[name] for name in wanted if name in there})
        differing = [
            f"{key} ({_shown(before, key)} there, {_shown(now, key)} now)"
            for key in _differing_keys(now, before)
            if key.partition(".")[0] not in unknown
        ]
        if differing:
            more = f" and {len(differing) - _MOST_TOLD} more" if len(differing) > _MOST_TOLD else ""
            raise TrainingError(
                f"{work}: holds an unfinished run with another {', '.join(differing[:_MOST_TOLD])}{more}; finish that "
                "one, remove the folder, or choose another name"
            )


_NOT_SET = object()
_MOST_TOLD = 5
"""Most settings that a message names."""


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """The settings with those of a table as TABLE.NAME; an empty table stays one."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) and value else {before + name: value}
    return flat


def _differing_keys(now: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    keys = now.keys() | before.keys()
    for key in sorted(keys):
        # Where one has a table and the other none, the names in the table tell it.
        is_table = any(other.startswith(f"{key}.") for other in keys)
        if not is_table and now.get(key, _NOT_SET) != before.get(key, _NOT_SET):
            yield key


def _shown(settings: Mapping[str, Any], key: str) -> str:
    """The value of a setting, without its middle where it is long: paths differ at their ends."""
    if settings.get(key) is None:
        return "none"
    text = json.dumps(settings[key], ensure_ascii=False)
    half = LONGEST_NAME // 2
    return text if len(text) <= LONGEST_NAME else f"{text[:half]}\N{HORIZONTAL ELLIPSIS}{text[-half:]}"


@contextmanager
def claimed_folder(settings: TrainingSettings, work: Path) -> Iterator[None]:
    """Make `work`, keep other runs out of it, and note in it the settings of the run that it belongs to.

    Raises:
        InUse: another run is working in it.
    """
    work.mkdir(parents=True, exist_ok=True)
    with locked(work, "choose another name with --out"):
        atomic_write_text(work / CLAIM_FILE, settings.model_dump_json(indent=1))
        yield


def resume_run(run: Run) -> RunState:
    """The state that the run has reached, restored from its folder; a new one where nothing was saved.

    Raises:
        ResumeError: the saved state is damaged.
        TrainingError: the run was begun with other data, in another precision or on another number of processes.
    """
    path = run.work / STATE_FILE
    if not path.is_file():
        return RunState()
    saved = read_saved(path)
    # Before the weights: other data may give a model of another size.
    if differing := _differing(saved["circumstances"], _circumstances(run)):
        raise TrainingError(f"{run.work}: begun {' and '.join(differing)}; go on with the same, or remove the folder")
    load_state(path, run.stateful)
    state = RunState(**saved["progress"])
    run.watcher.say(f"going on from step {state.step} (epoch {state.epoch}) of {run.work}")
    return state


def save_run(run: Run, state: RunState) -> None:
    """Save the state to go on from; the main process does it for all."""
    if run.replicas.is_main:
        saved = {"progress": vars(state), "circumstances": _circumstances(run)}
        save_state(run.work / STATE_FILE, run.stateful, saved)


def _circumstances(run: Run) -> dict[str, Any]:
    """Everything that decides the weights and is not among the settings."""
    return {
        "data": [origin.model_dump() for origin in run.origins],
        "bf16": run.settings.uses_bf16,
        "processes": run.replicas.count,
    }


def _differing(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The circumstances of a saved run that are others `now`, in words."""
    told = []
    if there["data"] != now["data"]:
        changed = {file["name"]: None for file in there["data"] if file not in now["data"]}
        changed |= {file["name"]: None for file in now["data"] if file not in there["data"]}
        told.append(f"with other data ({', '.join(changed) or 'in another order'})")
    if there["bf16"] != now["bf16"]:
        told.append(f"on a machine that computes in {'bf16' if there['bf16'] else 'float32'}")
    if there["processes"] != now["processes"]:
        told.append("by one process" if there["processes"] == 1 else f"by {there['processes']} processes")
    return told


def best_epoch(run: Run, state: RunState) -> int | None:
    """The finished epoch that measured best, None before there is one; the latest of those that measured alike.

    In a soup, only epochs that end an ingredient count.
    """
    counting = [record for record in state.epochs if run.soup is None or run.ends_training(record["epoch"])]
    ranked = [(record["metrics"][run.task.main_metric], record["epoch"]) for record in counting]
    return max(ranked)[1] if ranked else None


def save_weights(run: Run, epoch: int) -> None:
    """Save the weights after `epoch` as a checkpoint that only lacks its record."""
    encoder, method = run.result(epoch)
    # Only parameters: buffers belong to the run, such as labels of its training data.
    weights = {name: tensor.detach().contiguous() for name, tensor in method.named_parameters()}
    with atomic_write(_epoch_folder(run, epoch)) as unfinished:
        encoder.model.save_pretrained(unfinished, max_shard_size=ONE_FILE)
        _save_tokenizer(run.tokenizer, unfinished)
        if weights:
            save_file(weights, unfinished / METHOD_FILE)


def remove_worse_weights(run: Run, state: RunState) -> None:
    """Remove the weights of all epochs but the best.

    The state must have been saved before: a run that is killed until then may still need the epoch that was best.
    """
    best = best_epoch(run, state)
    for folder in run.work.glob("epoch-*"):
        if best is None or folder != _epoch_folder(run, best):
            shutil.rmtree(folder)


def _epoch_folder(run: Run, epoch: int) -> Path:
    return run.work / f"epoch-{epoch}"


def _save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer.json"
    without_padding(Tokenizer.from_file(str(path))).save(str(path))


def make_record(run: Run, state: RunState) -> TrainingRecord:
    """The content of `training.json` for a run that is finished."""
    settings = run.settings
    method_settings = read_settings(settings.method, settings.method_settings)
    kept = best_epoch(run, state)
    assert kept is not None, "a finished run has the end of a training"
    circumstances = {
        "bf16": settings.uses_bf16,
        "processes": run.replicas.count,
        "device": _device_name(run.replicas.device),
    }
    return TrainingRecord(
        task=settings.task,
        **vars(run.outputs),
        method=MethodRecord(name=settings.method, settings=method_settings.model_dump(mode="json")),
        base=settings.base_name or settings.base,
        head=run.head,
        max_tokens=settings.max_tokens,
        correction=run.correction.kind if run.correction else None,
        settings=settings.model_dump(mode="json", exclude=set(RECORDED_APART)) | circumstances,
        seed=settings.seed,
        source=settings.source,
        data=run.origins,
        epochs=tuple(EpochRecord.model_validate(record) for record in state.epochs),
        kept_epoch=kept,
        steps=state.step,
        cpu_s=state.cpu_s,
        licences=settings.licences,
        versions={name: importlib.metadata.version(name) for name in RECORDED_VERSIONS},
    )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.machine()})"


def write_checkpoint(run: Run, record: TrainingRecord, out: Path) -> None:
    """Turn the weights that were kept into the checkpoint `out`, and remove the run's folder."""
    best = _epoch_folder(run, record.kept_epoch)
    if run.correction:
        run.correction.write(best)
    atomic_write_text(best / RECORD_FILE, record.model_dump_json(indent=1) + "\n")
    best.rename(out)
    shutil.rmtree(run.work)
