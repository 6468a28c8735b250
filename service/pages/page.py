"""Whole pages of one HTML file each, which open anywhere: no script, and nothing loaded from elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.tables import format_count
from models.tasks.task import Item
from service.answers.contract import ModelName
from service.answers.highlights import views_of
from service.pages.fragment import answer, escape, notes_on, style

_PAGE_STYLE = """
:root { color-scheme: light dark; }
body { background: #f5f6f8; margin: 0 auto; max-width: 68rem; padding: 1rem; }
header { margin-bottom: 1rem; }
header h1 { font-size: 1.5rem; line-height: 1.25; margin: .3rem 0; }
@media (prefers-color-scheme: dark) { body { background: #15161a; } }
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""No script could run and nothing be loaded, even if a text became markup."""


def page(
    model: ModelName, items: Sequence[Item], results: Sequence[Any], reasons: Mapping[int, str] | None = None
) -> str:
    """A whole page: the model, what the explanations mean, and every answer.

    Args:
        model: The model that answered.
        items: The inputs.
        results: Their results of the contract, in the same order; their offsets count code points.
        reasons: By the place of an input, why its answer is not explained.
    """
    notes = notes_on([view for result in results for view in views_of(result)])
    shown = "".join(
        answer(item, result, (reasons or {}).get(index))
        for index, (item, result) in enumerate(zip(items, results, strict=True))
    )
    title = escape(f"{model.task}: {format_count(len(results), 'answer')}")
    name = escape(f"Model {model.name} ({model.method}, {model.precision}), digest {model.digest[:12]}")
    body = f"<header><h1>{title}</h1><p>{name}</p>{notes}</header>\n<main>{shown}</main>"
    return document(f"{model.task}: {format_count(len(results), 'answer')}", body)


def document(title: str, body: str, rules: str = "") -> str:
    """A whole HTML file with the rules of `style()` and further `rules`; only `title` is made harmless here."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_PAGE_STYLE}{style()}{rules}</style></head>\n"
        f'<body class="steadfast">{body}</body></html>\n'
    )
