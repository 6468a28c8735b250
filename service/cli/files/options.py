"""The options by which `score` reads files and picks their records, made into what the run takes."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from models.files.opening import Dialect
from service.cli.options import optional

if TYPE_CHECKING:
    from service.files.selection import Selection

_READING = "Reading and writing"
_PICKING = "Which records"
_REFUSED = "Records without an answer"
DEADLINE_S = 600.0
"""Seconds in which something must come from a cluster, unless the user says otherwise."""

_BESIDE = "Files beside the output"
_ENGINE = "Where answers are computed"


def file_options() -> Iterator[inspect.Parameter]:
    """The options, in the order in which `--help` shows them."""
    yield optional(
        "delimiter",
        str,
        help="Sign between values of csv. Without it: found in the first line.",
        rich_help_panel=_READING,
    )
    for which, of in (("input", "FILE"), ("output", "the output")):
        yield optional(
            f"{which}_format",
            str,
            metavar="KIND",
            help=f"Kind of {of}: csv, tsv, jsonl, json, txt, parquet or arrow. Without it: by the name"
            + (", and for `-` by the contents." if which == "input" else ", and for `-` that of FILE."),
            rich_help_panel=_READING,
        )
    yield optional(
        "on_bad_lines",
        Literal["stop", "skip"],
        help="A quote in csv that is never closed stops the run, which names its line; `skip` refuses that line alone.",
        rich_help_panel=_REFUSED,
    )
    yield optional(
        "errors",
        Path,
        metavar="FILE",
        help="File to write refused records to: file, record, line, reason and raw value.",
        rich_help_panel=_REFUSED,
    )
    yield optional(
        "max_errors", int, metavar="N", help="Stop when more records than this are refused.", rich_help_panel=_REFUSED
    )
    yield optional("limit", int, metavar="N", help="Answer the first N records only.", rich_help_panel=_PICKING)
    yield optional(
        "sample", int, metavar="N", help="Answer N records, drawn always alike, in order.", rich_help_panel=_PICKING
    )
    yield optional(
        "shard",
        str,
        metavar="I/N",
        help="Answer one of N equal parts, for several machines; `steadfast merge` joins the outputs.",
        rich_help_panel=_PICKING,
    )


def result_options() -> Iterator[inspect.Parameter]:
    """The options for what is written beside the output."""
    yield optional(
        "summary",
        Path,
        metavar="FILE",
        help="Write the summary as JSON; a file of that name is replaced.",
        rich_help_panel=_BESIDE,
    )
    yield optional(
        "report",
        Path,
        metavar="FILE",
        help="Write the summary as a page with plots; a page of that name is replaced.",
        rich_help_panel=_BESIDE,
    )


def engine_options() -> Iterator[inspect.Parameter]:
    """The options for where answers are computed."""
    yield optional(
        "engine",
        Literal["local", "ray"],
        help="Compute on the cores of this machine, which is usual, or on those of a Ray cluster.",
        rich_help_panel=_ENGINE,
    )
    yield optional(
        "address",
        str,
        metavar="HOST:PORT",
        help="Where the Ray cluster is. Without it: one on this machine, for this run.",
        rich_help_panel=_ENGINE,
    )
    yield optional(
        "deadline",
        float,
        metavar="SECONDS",
        help=f"Stop when nothing comes from Ray for so long. Without it: {DEADLINE_S:g}.",
        rich_help_panel=_ENGINE,
    )


def selection_of(given: Mapping[str, Any]) -> "Selection":
    """The records that the options pick; raises BadSelection."""
    from service.files.selection import Selection, Shard

    shard = Shard.parse(given["shard"]) if given["shard"] else None
    return Selection(shard=shard, limit=given["limit"], sample=given["sample"])


def dialect_of(given: Mapping[str, Any]) -> Dialect:
    """How text is to be taken; raises RecordsError."""
    # A shell passes what is typed as \t as two signs.
    delimiter = "\t" if given["delimiter"] in ("\\t", "tab") else given["delimiter"]
    return Dialect(delimiter=delimiter, skips_open_quotes=given["on_bad_lines"] == "skip")
