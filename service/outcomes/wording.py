"""A summary in words: lines for a terminal, and the sentences that its page uses too."""

from collections.abc import Iterator

from models.tables import format_count
from service.outcomes.distribution import Distribution
from service.outcomes.summary import CertificateCounts, Summary

BARS = "·▁▂▃▄▅▆▇█"
"""Bars of a histogram in text, the lowest first; the dot stands for none."""

MOST_LABELS = 8
"""Labels that are named in a line."""

SURE = 0.9
UNSURE = 0.6
"""Decisions less probable than this are counted as hardly decided; both are edges of the histogram."""

NOT_UNDERSTOOD = 0.5
"""Answers to texts with more unknown tokens than this rest on next to nothing."""


def describe(summary: Summary) -> Iterator[str]:
    """The lines that say all of a summary but how many records there were."""
    yield from _line("answers", describe_labels(summary))
    yield from _line("confidence", _describe_confidence(summary.confidence))
    yield from _line("similarity", _describe_similarity(summary.similarity))
    yield from _line("length", _describe_lengths(summary))
    yield from _line("unknown", describe_unknown(summary.unknown_share))
    yield from _line("corrected", format_count(summary.corrected, "record") if summary.corrected else "")
    yield from _line("review", describe_review(summary))
    yield from _line("certified", describe_certificates(summary.certificates))
    for failure in summary.failures:
        yield from _line("failed", f"{failure.code} {failure.records:,}, first in record {failure.first:,}")


def describe_labels(summary: Summary) -> str:
    """How often each label was given; empty where answers have none."""
    total = sum(summary.labels.values())
    named = list(summary.labels.items())[:MOST_LABELS]
    parts = [f"{label} {times:,} ({times / total:.1%})" for label, times in named]
    if len(summary.labels) > MOST_LABELS:
        parts.append(f"{format_count(len(summary.labels) - MOST_LABELS, 'other')}")
    return ", ".join(parts)


def describe_unknown(shares: Distribution | None) -> str:
    """How much of the texts the model has no word for."""
    if shares is None:
        return ""
    beyond = 1 - shares.below(NOT_UNDERSTOOD)
    return f"{shares.mean:.1%} of the tokens of a record; half or more in {beyond:.1%} of the records"


def describe_review(summary: Summary) -> str:
    """How many records a person should look at; empty where that was not asked."""
    if summary.review is None or not summary.records:
        return ""
    return f"{format_count(summary.review, 'record')} ({summary.review / summary.records:.1%})"


def describe_certificates(counts: CertificateCounts | None) -> str:
    """How many certificates hold; empty where none was asked for."""
    if counts is None:
        return ""
    return f"{counts.hold:,} hold, {counts.broken:,} do not, {counts.nothing_to_edit:,} have nothing to edit"


def _describe_confidence(confidence: Distribution | None) -> str:
    if confidence is None:
        return ""
    return (
        f"{sparkline(confidence)}  median {confidence.median:.2f}; {1 - confidence.below(SURE):.1%} at {SURE} or more, "
        f"{confidence.below(UNSURE):.1%} below {UNSURE}"
    )


def _describe_similarity(similarity: Distribution | None) -> str:
    if similarity is None:
        return ""
    return (
        f"{sparkline(similarity)}  from {similarity.least:.2f} to {similarity.most:.2f}, median {similarity.median:.2f}"
    )


def _describe_lengths(summary: Summary) -> str:
    tokens = summary.tokens
    if tokens is None:
        return ""
    beside = [f"{summary.in_windows:,} in windows"] if summary.in_windows else []
    beside += [f"{summary.truncated:,} cut off"] if summary.truncated else []
    spread = f"{tokens.least:,.0f} to {tokens.most:,.0f} tokens, median {tokens.median:,.0f}"
    return "; ".join([spread, *beside])


def sparkline(distribution: Distribution) -> str:
    """The histogram as a row of characters, one for each bin."""
    highest = max(distribution.counts)
    # What is there is seen, however little it is.
    return "".join(BARS[-(-times * (len(BARS) - 1) // highest)] for times in distribution.counts)


def _line(name: str, text: str) -> Iterator[str]:
    if text:
        yield f"{name:<11} {text}"
