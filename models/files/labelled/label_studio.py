"""Records as Label Studio exports them, made into columns: one for each field of a task, and one for each control.

The export JSON-MIN has such columns already.
"""

from collections.abc import Mapping, Sequence
from typing import Any

ENTITIES = "entities"
"""The column of the spans, where one control gives them; an annotation without any has an empty list."""

LABEL = "label"
"""The column of the choice, where one control gives it."""


class SkippedTask(ValueError):
    """A task without an annotation, or one that all annotators skipped."""


def is_task(values: Mapping[str, Any]) -> bool:
    """Whether the values are a task as the export JSON has it."""
    annotations = _annotations(values)
    return (
        isinstance(values.get("data"), Mapping)
        and isinstance(annotations, list)
        and all(isinstance(one, Mapping) for one in annotations)
    )


def is_minimal(values: Mapping[str, Any]) -> bool:
    """Whether the values are an annotated task as the exports JSON-MIN and CSV have it."""
    return "annotation_id" in values and "annotator" in values


def flatten(values: Mapping[str, Any], answers: frozenset[str]) -> dict[str, Any]:
    """The fields and the annotation of a task as columns; fields that are called like `answers` only below `data`.

    Cancelled annotations do not count, nor any beside those marked as ground truth. Of one annotator the last counts.

    Raises:
        SkippedTask: no annotation counts.
        ValueError: annotators disagree.
    """
    controls = _agreed([_controls(one) for one in _counting(_annotations(values) or [])])
    data = {name: value for name, value in values["data"].items() if name not in answers}
    texts = [value for value in data.values() if isinstance(value, str)]
    found = {**({"text": texts[0]} if len(texts) == 1 else {}), **values, **data, **controls}
    spans = [name for name, value in controls.items() if _is_span(value[0])]
    choices = [name for name in controls if name not in spans]
    # Of several controls with spans, the reader has to name one.
    found.pop(ENTITIES, None)
    if len(spans) < 2:
        found[ENTITIES] = controls[spans[0]] if spans else []
    if len(choices) == 1:
        found[LABEL] = controls[choices[0]]
    elif not controls:
        # None of any number of labels.
        found[LABEL] = []
    return found


def _annotations(values: Mapping[str, Any]) -> Any:
    # Old versions call them completions.
    return values.get("annotations", values.get("completions"))


def _counting(annotations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    kept = [one for one in annotations if not (one.get("was_cancelled") or one.get("skipped"))]
    if not kept:
        raise SkippedTask("nobody has annotated it" if not annotations else "its annotators skipped it")
    kept = [one for one in kept if one.get("ground_truth")] or kept
    kept.sort(key=lambda one: str(one.get("created_at", "")))
    return list({str(one.get("completed_by", place)): one for place, one in enumerate(kept)}.values())


def _controls(annotation: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The spans and choices of an annotation by the name of their control, in the order of their places."""
    controls: dict[str, list[Any]] = {}
    results = annotation.get("result") or []
    if not isinstance(results, list) or not all(isinstance(one, Mapping) for one in results):
        raise ValueError("the result of an annotation is a list of objects, as Label Studio exports it")
    for result in results:
        value = result.get("value")
        if isinstance(value, Mapping) and isinstance(value.get("choices"), list) and not _is_span(value):
            controls.setdefault(str(result.get("from_name")), []).extend(value["choices"])
        elif isinstance(value, Mapping) and _is_span(value) and "labels" in value:
            kept = {name: value[name] for name in ("start", "end", "labels", "text") if name in value}
            controls.setdefault(str(result.get("from_name")), []).append(kept)
    return {name: sorted(controls[name], key=_order) for name in sorted(controls) if controls[name]}


def _is_span(value: Any) -> bool:
    return isinstance(value, Mapping) and "start" in value and "end" in value


def _order(value: Any) -> str:
    return f"{value['start']!s:>12} {value['end']!s:>12} {value['labels']}" if _is_span(value) else str(value)


def _agreed(found: Sequence[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    if any(one != found[0] for one in found):
        raise ValueError(f"its {len(found)} annotators disagree; keep one annotation, or mark one as ground truth")
    return found[0]
