"""The summary of a run over records as one HTML file, with plots, which opens anywhere: no script, nothing loaded.

Every plot is a list or a table of numbers too. Colours say nothing that is not written beside them.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from models.tables import format_count
from service.outcomes.distribution import Distribution
from service.outcomes.summary import CertificateCounts, Summary
from service.outcomes.wording import NOT_UNDERSTOOD, SURE, UNSURE
from service.pages.fragment import escape
from service.pages.page import document

WIDTH, HEIGHT, LOWEST = 100.0, 40.0, 0.5
"""The units of a plot; its size on the screen is up to the style."""


def report(summary: Summary, *, source: str) -> str:
    """A whole page about a run over the records of `source`, which is a name to show."""
    title = f"{summary.model.task}: {format_count(summary.records, 'record')}"
    model = summary.model
    name = f"{source}, answered by {model.name} ({model.method}, {model.precision}), digest {model.digest[:12]}"
    sections = (
        _figures(_key_figures(summary)),
        _labels(summary),
        _histogram("How sure the answers are", "probability", "decisions", summary.confidence, _confidence(summary)),
        _histogram("How alike the texts are", "similarity", "records", summary.similarity),
        _histogram("How long the records are", "tokens", "records", summary.tokens, _LENGTHS),
        _histogram("What the model has no word for", "share of the tokens", "records", summary.unknown_share, _UNKNOWN),
        _certificates(summary.certificates),
        _failures(summary),
    )
    heading = f"<header><h1>{escape(title)}</h1><p>{escape(name)}</p></header>"
    body = f"{heading}<main>{''.join(sections)}</main>"
    return document(title, body, Path(__file__).with_name("report.css").read_text(encoding="utf-8"))


_LENGTHS = "Tokens that were read, special tokens and the overlap of windows included."
_UNKNOWN = (
    f"Near 1, an answer rests on nothing. From {NOT_UNDERSTOOD} on, ask whether the texts are in the model's language."
)


def _key_figures(summary: Summary) -> Iterable[tuple[str, str, str]]:
    """The numbers that come first, each with its name and a note."""
    records = summary.records
    yield "answered", f"{summary.answered:,}", _share(summary.answered, records)
    yield "without an answer", f"{records - summary.answered:,}", _share(records - summary.answered, records)
    if summary.review is not None:
        yield "to review", f"{summary.review:,}", _share(summary.review, records)
    if summary.confidence is not None:
        hardly = summary.confidence.below(UNSURE)
        yield f"less than {UNSURE} sure", f"{hardly:.1%}", "of the decisions"
    if summary.in_windows:
        yield "in several windows", f"{summary.in_windows:,}", _share(summary.in_windows, records)
    if summary.truncated:
        yield "cut off", f"{summary.truncated:,}", _share(summary.truncated, records)
    if summary.corrected:
        yield "corrected", f"{summary.corrected:,}", _share(summary.corrected, records)


def _figures(figures: Iterable[tuple[str, str, str]]) -> str:
    shown = "".join(
        f"<div><dt>{escape(name)}</dt><dd><b>{value}</b> <span>{note}</span></dd></div>"
        for name, value, note in figures
    )
    return f'<dl class="figures">{shown}</dl>'


def _labels(summary: Summary) -> str:
    """A bar for each label, with its count and share."""
    total = sum(summary.labels.values())
    if not total:
        return ""
    most = max(summary.labels.values())
    rows = "".join(
        f'<li><span lang="">{escape(label)}</span> {_bar(times / most)} <b>{times:,}</b> '
        f"<i>{times / total:.1%}</i></li>"
        for label, times in summary.labels.items()
    )
    without = summary.without_decision
    note = f"<p>{format_count(without, 'record')} without any.</p>" if without else ""
    return _section("Answers", f'<ul class="mix">{rows}</ul>{note}')


def _bar(share: float) -> str:
    return (
        '<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="all" width="100" height="1"/><rect width="{100 * share:.1f}" height="1"/></svg>'
    )


def _histogram(
    heading: str, measure: str, counted: str, distribution: Distribution | None, note: str | None = None
) -> str:
    """A plot of how numbers are spread, its main numbers in words, and the table of its bins."""
    if distribution is None:
        return ""
    numbers = (
        f"median {_number(distribution.median)}, mean {_number(distribution.mean)}, "
        f"95% at most {_number(distribution.p95)}, from {_number(distribution.least)} to {_number(distribution.most)}"
    )
    bins = _used_bins(distribution)
    plot = _plot(bins, f"{heading}: {numbers}")
    axis = f"<figcaption>{counted} by {measure}; the highest bar is {max(count for _, _, count in bins):,}</figcaption>"
    rows = "".join(
        f'<tr><th scope="row">{_number(low)} to {_number(high)}</th><td>{count:,}</td>'
        f"<td>{count / distribution.count:.1%}</td></tr>"
        for low, high, count in bins
    )
    head = f'<tr><th scope="col">{measure}</th><th scope="col">{counted}</th><th scope="col">share</th></tr>'
    table = (
        f"<details><summary>The numbers</summary><table><thead>{head}</thead><tbody>{rows}</tbody></table></details>"
    )
    said = f"<p>{escape(note)}</p>" if note else ""
    return _section(heading, f"<p>{numbers}</p><figure>{plot}{axis}</figure>{said}{table}")


def _used_bins(distribution: Distribution) -> list[tuple[float, float, int]]:
    """The bins without those above the highest number; the last one ends where the numbers do."""
    bins = [
        (low, high, count) for (low, high), count in zip(pairwise(distribution.edges), distribution.counts, strict=True)
    ]
    while len(bins) > 1 and bins[-1][2] == 0 and distribution.edges[-1] > 1:
        bins.pop()
    low, high, count = bins[-1]
    return [*bins[:-1], (low, max(high, distribution.most), count)]


def _plot(bins: Sequence[tuple[float, float, int]], label: str) -> str:
    """Bars from left to right with the edges of the bins below them."""
    highest = max(count for _, _, count in bins)
    width = WIDTH / len(bins)
    bars = "".join(
        f'<rect x="{number * width + width * 0.06:.2f}" width="{width * 0.88:.2f}" '
        f'y="{HEIGHT - height:.2f}" height="{height:.2f}">'
        f"<title>{_number(low)} to {_number(high)}: {count:,}</title></rect>"
        for number, (low, high, count) in enumerate(bins)
        # Few are seen, too.
        if (height := max(HEIGHT * count / highest, LOWEST if count else 0))
    )
    line = f'<path d="M0 {HEIGHT}H{WIDTH}"/>'
    every = 1 if len(bins) <= 11 else 4
    edges = [low for low, _, _ in bins] + [bins[-1][1]]
    # In HTML, not in the picture: it is stretched to the page's width, and letters would be, too.
    marks = "".join(
        f'<span style="left:{100 * number / len(bins):.2f}%">{_number(edge)}</span>'
        for number, edge in enumerate(edges)
        if number % every == 0 or number == len(bins)
    )
    return (
        f'<svg class="plot" role="img" aria-label="{escape(label)}" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" '
        f'preserveAspectRatio="none">{bars}{line}</svg><div class="marks" aria-hidden="true">{marks}</div>'
    )


def _confidence(summary: Summary) -> str | None:
    confidence = summary.confidence
    if confidence is None:
        return None
    return (
        f"{1 - confidence.below(SURE):.1%} are at {SURE} or more, {confidence.below(UNSURE):.1%} below {UNSURE}. "
        "A probability says how sure the model is, which can be wrong too."
    )


def _certificates(counts: CertificateCounts | None) -> str:
    if counts is None:
        return ""
    rows = (
        ("hold: no edit of one word changes the answer", counts.hold),
        ("do not hold", counts.broken),
        ("have nothing to edit", counts.nothing_to_edit),
    )
    most = max(counted for _, counted in rows) or 1
    total = sum(counted for _, counted in rows) or 1
    shown = "".join(
        f"<li><span>{name}</span> {_bar(counted / most)} <b>{counted:,}</b> <i>{counted / total:.1%}</i></li>"
        for name, counted in rows
    )
    return _section("Certificates", f'<ul class="mix">{shown}</ul>')


def _failures(summary: Summary) -> str:
    if not summary.failures:
        return _section("Failures", "<p>None.</p>")
    rows = "".join(
        f'<tr><th scope="row"><code>{failure.code}</code></th><td>{failure.records:,}</td><td>{failure.first:,}</td>'
        f"<td>{escape(failure.example)}</td></tr>"
        for failure in summary.failures
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("kind", "records", "first record", "said of it"))
    return _section("Failures", f'<table class="failures"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>')


def _section(heading: str, content: str) -> str:
    return f'<section class="answer"><h2>{escape(heading)}</h2>{content}</section>'


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%} of the records" if whole else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and value > 1 else f"{value:.3g}"
