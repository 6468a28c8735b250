"""The model card of a package: its `README.md`."""

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from export.figures.stated import passport_table
from export.package import FALLBACK_FILE, GRAPH_FILE, Manifest
from models.checkpoint import IMPORTED, DataFile, ImportRecord, TrainingRecord
from models.correction.spelling import WORDS_FILE
from models.tables import format_cell, format_count, markdown_table
from models.tasks.task import NO_OUTPUTS, ONE_VECTOR, Head
from models.training.settings import TrainingSettings

CARD_FILE = "README.md"

ORT_CLASSES: dict[Head, str] = dict.fromkeys(ONE_VECTOR, "ORTModelForSequenceClassification")
"""Classes of optimum that give a graph just the inputs it takes; the classes of other heads give more or fewer."""

UNPACKED_FROM = "unpacked_from"
"""The key of a record's settings with the digest of the package that its weights were taken from."""

TEMPLATE = """\
# {name}

A model for the task {task}: {made} and exported to ONNX by Steadfast.

| | |
|---|---|
| labels | {labels} |
| base | {base} |
| method | `{method}`: {method_settings} |{noise}
| weights | sha256 `{weights}`, {kept} |
| precision | {precision} |
| size of the graph | {graph_mb:.1f} MB |
| longest row | {max_tokens} tokens |

{measured}
## Data

{data}

## Licences

- weights: {licences.weights}
- base: {licences.base}
- data: {licences.data}

## Use and limits

The model is meant for texts like those it was trained on. On other kinds of text, in other languages and in other years
the figures above do not hold, so measure first. Scores are shares the model gives, not chances of being right.
Explanations show where the model looked, which need not be why it answered so. The model repeats what its data hold,
prejudice included: do not let it decide about people alone.

## Serve it

```
steadfast serve PACKAGE
```

`PACKAGE` is this folder. {optimum_note}`model.onnx` loads in ONNX Runtime: inputs {inputs}; outputs {outputs}.
{fallback_note}
## Check it and make it again

`steadfast verify PACKAGE` checks every file and replays the recorded probes. {again}; exported with {versions}.
"""

_MEASURED = """\
## Measured

{metrics} {precision_note}
{correction_note}{blindness_note}
The fp32 graph differs from eager torch by at most {parity:.1g} in any output, on {shapes} shapes of padded batches.
The logits of {determinism_rows} of different lengths are the same bits alone, in mixed batches and with more padding.
{robustness}{explanations}"""

_TRAINED_AGAIN = """\
With the data above in
`FOLDER`, these settings in `settings.toml`, and as `BASE` the base named above or the folder where it lies, the same
versions on the same kind of machine give the same weights again:

```
steadfast train --config settings.toml --base BASE --out CHECKPOINT
steadfast export CHECKPOINT --out PACKAGE{options}
```

```toml
{settings}
```

{unpacked_note}Trained with {trained_with}"""

_IMPORTED_AGAIN = """\
With `BASE` as the checkpoint
named above or the folder where it lies, the same versions on the same kind of machine give the same graph again:

```
steadfast import BASE --task {task} --out PACKAGE{options}
```

Nothing is known here of its training. It was read with {versions}"""

_METRICS = """\
{table}

These are figures of the exported graph, on {rows} validation records."""

_NOT_MEASURED = """\
Quality was not measured: there were no records with right answers, so nobody knows how good the answers are. Of {rows}
made-up texts, the exported graph answers a share of {agreement:.4f} as the fp32 graph does.
`steadfast evaluate PACKAGE --data DATA --part PART` measures it on records of yours."""

_EXPLANATIONS = """
## Explanations

{table}

Measured on {rows} by ERASER's measures (DeYoung et al. 2020), with 95 % intervals: how far the answer's probability
falls without the words that an explanation ranks first (comprehensiveness, higher is better) and with nothing but these
(sufficiency, lower is better), as means over 1, 5, 10, 20 and 50 % of the words. Cost is the CPU time of an explained
answer as a multiple of one that is not.
"""

_ROBUSTNESS = """
## Robustness

{table}

An attack searches for changed texts that turn right answers: `typos-2` tries edits of at most two words, `synonyms` a
share of them; its figure is the share of {rows} that are right before and after, ± its standard error. Random
noise searches for nothing. The other lines are sets made to mislead and CheckList's tests.{name_gap}
"""

_FIGURES = re.compile(r"^## Measured\n.*?^## Data\n", re.MULTILINE | re.DOTALL)
"""The sections that hold figures, up to the heading behind them."""

_NAME_GAP = """ `name-gap` is the largest
difference that names or terms of identity made to the mean score of {templates}: here that between {highest} and
{lowest} ({kind})."""

_BLINDNESS_NOTE = """\
It is blind, in part, to terms of nationality, religion and orientation: after the export their embeddings were moved by
{share:g} of the way to the mean of their kind, so that an answer hangs less on which of them a text names. The next two
lines were checked before.
"""

_FALLBACK_NOTE = (
    f"`{FALLBACK_FILE}` is the same model in fp32; it answers on machines where `{GRAPH_FILE}` gives other results.\n"
)


def write_card(manifest: Manifest, record: TrainingRecord | ImportRecord, head: Head, graph_bytes: int) -> str:
    """The card as Markdown; `manifest` need not be sealed yet."""
    return TEMPLATE.format(
        name=manifest.name,
        task=manifest.task,
        base=manifest.base,
        method=manifest.method.name,
        method_settings=_settings_line(manifest.method.settings),
        made=_made(manifest),
        noise=f"\n| noise | {_settings_line(manifest.noise)} |" if manifest.noise else "",
        labels=", ".join(manifest.labels),
        weights=manifest.weights,
        kept=record.kept,
        precision=manifest.precision,
        graph_mb=graph_bytes / 1e6,
        max_tokens=manifest.max_tokens,
        measured=_measured(manifest),
        data=_data_table(manifest.data) if manifest.data else "No data were given.",
        licences=manifest.licences,
        fallback_note=_FALLBACK_NOTE if manifest.fallback_probes else "",
        optimum_note=_optimum_note(manifest, head),
        inputs=", ".join(f"`{tensor.name}`" for tensor in manifest.inputs),
        outputs=", ".join(f"`{tensor.name}`" for tensor in manifest.outputs),
        again=_trained_again(manifest, record)
        if isinstance(record, TrainingRecord)
        else _imported_again(manifest, record),
        versions=_settings_line(manifest.versions),
    )


def replace_figures(card: str, manifest: Manifest) -> str:
    """A card with the figures that `manifest` has, in place of those it had."""
    figures = f"{_measured(manifest)}\n## Data\n"
    return _FIGURES.sub(lambda _: figures, card, count=1)


def _made(manifest: Manifest) -> str:
    if manifest.method.name == IMPORTED:
        return f"the checkpoint `{manifest.base}`, trained elsewhere, imported"
    noise = " with noise beside it" if manifest.noise else ""
    return f"`{manifest.base}` trained by the method `{manifest.method.name}`{noise}"


def _trained_again(manifest: Manifest, record: TrainingRecord) -> str:
    return _TRAINED_AGAIN.format(
        options=_as_options({"correct": bool(manifest.correction and record.correction is None), **_form_of(manifest)}),
        settings=_training_toml(record),
        unpacked_note=_unpacked_note(record),
        trained_with=_settings_line(record.versions | _device(record)),
    )


def _imported_again(manifest: Manifest, record: ImportRecord) -> str:
    parts = {file.part: file.name for file in record.data}
    given = {
        "labels": ",".join(record.named) if record.named else None,
        "score-range": record.outputs.score_range,
        "label-threshold": _unusual(record.outputs.label_threshold, NO_OUTPUTS.label_threshold),
        "max-tokens": record.max_tokens,
        "data": "FOLDER" if record.data else None,
        "train": parts.get("calibration"),
        "validation": parts.get("validation"),
        **_form_of(manifest),
    }
    return _IMPORTED_AGAIN.format(
        task=record.task, options=_as_options(given), versions=_settings_line(record.versions)
    )


def _form_of(manifest: Manifest) -> dict[str, Any]:
    """The options by which a package was given its form; int8 that was asked for may have ended in fp32."""
    is_int8_wanted = manifest.precision == "int8" or manifest.quality.best_int8 is not None
    return {
        "precision": None if is_int8_wanted else manifest.precision,
        "with-fp32": bool(manifest.fallback_probes),
        "portable": manifest.portable,
    }


def _as_options(values: Mapping[str, Any]) -> str:
    """Options of a command with their values, a blank before each; None and False are options that are not given."""
    words: list[str] = []
    for name, value in values.items():
        if value is None or value is False:
            continue
        further = () if value is True else value if isinstance(value, tuple) else (value,)
        words += [f"--{name}", *map(str, further)]
    return "".join(f" {shlex.quote(word)}" for word in words)


def _measured(manifest: Manifest) -> str:
    return _MEASURED.format(
        metrics=_metrics(manifest),
        precision_note=_precision_note(manifest),
        correction_note=_correction_note(manifest),
        blindness_note=_BLINDNESS_NOTE.format(share=manifest.blindness) if manifest.blindness else "",
        parity=max(manifest.parity.largest_difference.values()),
        shapes=len(manifest.parity.shapes),
        determinism_rows=format_count(manifest.determinism.rows, "row"),
        robustness=_robustness(manifest),
        explanations=_explanations(manifest),
    )


def _metrics(manifest: Manifest) -> str:
    quality = manifest.quality
    if not quality.measured:
        return _NOT_MEASURED.format(rows=quality.rows, agreement=quality.exported)
    return _METRICS.format(table=_metrics_table(manifest.metrics), rows=quality.rows)


def _optimum_note(manifest: Manifest, head: Head) -> str:
    # A model without rollout is not a transformer, and the library transformers has no class for its configuration.
    is_transformer = any(tensor.name == "rollout" for tensor in manifest.outputs)
    ort_class = ORT_CLASSES.get(head) if is_transformer else None
    call = f'optimum.onnxruntime.{ort_class}.from_pretrained("PACKAGE")'
    return f"It also loads with\n`{call}`, and " if ort_class else ""


def _correction_note(manifest: Manifest) -> str:
    if manifest.correction is None:
        return ""
    letters = "Before texts are read, look-alikes of letters are read as letters and unseen signs dropped"
    if manifest.correction == "letters":
        return f"{letters}.\n"
    return (
        f"{letters}, and\nunknown words that are one typing error away from known ones as the one that was most likely "
        f"meant. Known are the\nwords in `{WORDS_FILE}`: those of the training texts and of the tokenizer, of WordNet "
        "3.0, Copyright 2006 by\nPrinceton University (all rights reserved; its licence is at "
        "https://wordnet.princeton.edu/license-and-commercial-use),\nand those of wordfreq, by Robyn "
        "Speer (CC BY-SA 4.0).\n"
    )


def _precision_note(manifest: Manifest) -> str:
    quality = manifest.quality
    if quality.best_int8 is not None:
        return (
            f"Nothing is quantised: int8 reached only {quality.metric} {quality.best_int8:.4f}{_as_written(manifest)}."
        )
    if manifest.precision == "fp32":
        return "Nothing is quantised."
    if manifest.precision == "fp16":
        return (
            f"In fp32 it gives {quality.metric} {quality.fp32:.4f}, "
            f"in fp16 {quality.exported:.4f}{_as_written(manifest)}. "
            "It computes in float16, for GPUs; normalisation, softmax, attention and rollout stay in float32."
        )
    excluded = ", ".join(f"`{node}`" for node in quality.excluded_nodes)
    texts = "text" if manifest.method.name == IMPORTED else "training text"
    return (
        f"In fp32 it gives {quality.metric} {quality.fp32:.4f}, in int8 {quality.exported:.4f}{_as_written(manifest)}. "
        "Products with weights and embedding tables are int8, "
        f"with ranges from {format_count(quality.calibration_rows, texts)}"
        + (f"; left in fp32, because int8 cost too much there: {excluded}." if excluded else ".")
    )


def _as_written(manifest: Manifest) -> str:
    lacked = " and ".join(manifest.quality.without)
    return f", without {lacked}" if lacked else ""


def _device(record: TrainingRecord) -> dict[str, str]:
    """The device that trained; older records do not say."""
    return {"device": record.settings["device"]} if "device" in record.settings else {}


def _metrics_table(metrics: Mapping[str, Mapping[str, float]]) -> str:
    names = list(next(iter(metrics.values())))
    return markdown_table(
        ("data", *names), ((data, *(format_cell(values[name]) for name in names)) for data, values in metrics.items())
    )


def _explanations(manifest: Manifest) -> str:
    measured = manifest.faithfulness
    if not measured:
        return ""
    lines = [
        (name, _with_interval(one.comprehensiveness, one.comprehensiveness_interval),
         _with_interval(one.sufficiency, one.sufficiency_interval), f"{one.cost:.2f}")
        for name, one in measured.items()
    ]  # fmt: skip
    by_chance = next(iter(measured.values()))
    lines.append(
        ("words at random", f"{by_chance.random_comprehensiveness:.3f}", f"{by_chance.random_sufficiency:.3f}", "")
    )
    table = markdown_table(("explanation", "comprehensiveness", "sufficiency", "cost"), lines)
    most = max(one.rows for one in measured.values())
    return _EXPLANATIONS.format(table=table, rows=format_count(most, "validation record"))


def _robustness(manifest: Manifest) -> str:
    passport = manifest.passport
    if passport is None:
        return ""
    gap = passport.name_gap
    told = _NAME_GAP.format(**gap.model_dump() | {"templates": format_count(gap.templates, "sentence")}) if gap else ""
    return _ROBUSTNESS.format(
        table=markdown_table(
            ("figure", manifest.variant, *(twin.method for twin in manifest.twins)), passport_table(manifest)
        ),
        rows=format_count(max((one.rows for one in passport.attacks), default=0), "validation record"),
        name_gap=told,
    )


def _with_interval(mean: float, interval: tuple[float, float]) -> str:
    return f"{mean:.3f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _data_table(files: Iterable[DataFile]) -> str:
    return markdown_table(
        ("for", "part", "rows", "sha256"),
        ((file.part, file.name, f"{file.rows:,}", f"`{file.sha256}`" if file.sha256 else "hub") for file in files),
    )


def _settings_line(settings: Mapping[str, Any]) -> str:
    given = {name: value for name, value in settings.items() if value is not None}
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in given.items()) or "no settings"


def _unpacked_note(record: TrainingRecord) -> str:
    """Says where the weights come from if not from a training: `benchmarks.checkpoint` records it."""
    package = record.settings.get(UNPACKED_FROM)
    if package is None:
        return ""
    return (
        f"The weights were not trained again: they are those of the package `{package}`, as its graph had rounded "
        "them, and the settings above are those of the training behind it.\n\n"
    )


def _unusual(threshold: float, usual: float) -> float | None:
    return None if threshold == usual else threshold


def _training_toml(record: TrainingRecord) -> str:
    settings = {
        "task": record.task,
        "method": record.method.name,
        "base": record.base,
        "labels": record.labels,
        "score_range": record.score_range,
        "no_answer_threshold": record.no_answer_threshold,
        "label_threshold": _unusual(record.label_threshold, NO_OUTPUTS.label_threshold),
        "outside_threshold": _unusual(record.outside_threshold, NO_OUTPUTS.outside_threshold),
        "max_tokens": record.max_tokens,
        "seed": record.seed,
        **{
            name: value
            for name, value in record.settings.items()
            if name in TrainingSettings.model_fields and name not in ("bilstm", "noise")
        },
        # The precision that was used; "auto" may choose another on another machine.
        "precision": "bf16" if record.settings.get("bf16") else "fp32",
    }
    # The path of a folder on the machine that trained tells the reader nothing; the name of a hub's data set does.
    is_folder = any(file.sha256 for file in record.data if file.part != "vectors")
    source = record.source.model_dump() | ({"data": "FOLDER"} if is_folder else {})
    tables = {
        "source": source,
        "method_settings": record.method.settings,
        **({"noise": record.noise} if record.noise else {}),
        **_bilstm_table(record),
        "licences": record.licences.model_dump(),
    }
    lines = _toml_lines(settings)
    for name, values in tables.items():
        lines += ["", f"[{name}]", *_toml_lines(values)]
    return "\n".join(lines)


def _bilstm_table(record: TrainingRecord) -> dict[str, dict[str, Any]]:
    given = record.settings.get("bilstm")
    if given is None:
        return {}
    names = [file.name for file in record.data if file.part == "vectors"]
    return {"bilstm": given | ({"vectors": names[0]} if names else {})}


def _toml_lines(values: Mapping[str, Any]) -> list[str]:
    # JSON's strings, numbers, truth values and lists of them are TOML too. TOML has no null, so None is left out.
    return [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items() if value is not None]
