"""Looks through a data set before anything is trained on it: what is read, what is not, and what would spoil figures.

Everything is read as training and measuring read it. Of each text only a digest is kept.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers

from models.data import AnsweredRecord, read_answered
from models.errors import UserError
from models.files.formats import stem_of
from models.files.layout import Layout
from models.files.parts import DataError, are_too_many
from models.files.rows import BadRecord, LeftOutRecord
from models.progress import ReportProgress
from models.tasks.ner import find_entities
from models.tasks.task import AnyTask, Outputs
from models.text import Reader, ReadingLimits
from models.tokenizer import open_tokenizer

MOST_REASONS = 3
"""Bad records of a part whose reasons are kept."""

LONGEST = ReadingLimits(max_tokens=65_536)
"""Limits under which an item is one row, so that its length is seen."""


@dataclass(frozen=True)
class Lengths:
    """The lengths of the items of a part, in tokens with special ones, or in words and signs without a tokenizer."""

    median: int
    most: int
    """The length that nineteen items of twenty do not exceed."""
    longest: int
    cut: int
    """Items that are longer than training reads, of which it leaves out the end."""


@dataclass(frozen=True)
class PartReport:
    """The contents of a part."""

    name: str
    fault: str | None
    """The reason why it cannot be trained or measured on; None where it can."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The column of each field and of the right answer."""
    records: int = 0
    """All of them, bad ones and those left out too."""
    bad: int = 0
    left_out: int = 0
    reasons: tuple[str, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    """How often each label is the right answer; of entities, how many of each kind there are."""
    lengths: Lengths | None = None
    duplicates: int = 0
    """Records whose texts stand in a record before."""
    conflicting: int = 0
    """Texts that have several right answers."""


@dataclass(frozen=True)
class Leak:
    """Texts that stand in two parts."""

    parts: tuple[str, str]
    texts: int
    conflicting: int
    """How many of them have other right answers in one than in the other."""


@dataclass(frozen=True)
class DataReport:
    """The contents of a data set."""

    parts: tuple[PartReport, ...]
    leaks: tuple[Leak, ...]

    @property
    def is_usable(self) -> bool:
        """Whether every part can be trained or measured on."""
        return all(part.fault is None for part in self.parts)


def find_parts(folder: Path) -> tuple[str, ...]:
    """The names of all parts of a folder, in the order of the alphabet; raises DataError where there is none."""
    found = sorted({stem for path in folder.iterdir() if path.is_file() and (stem := stem_of(path.name))})
    if not found:
        raise DataError(f"{folder}: no data files at all")
    return tuple(found)


def find_reader(folder: Path | None) -> Reader:
    """The reader of a checkpoint, a package or any folder with a tokenizer; one of words and signs without.

    Raises:
        DataError: the folder has no tokenizer.
    """
    if folder is None:
        words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        return Reader(words, LONGEST)
    file = folder / "tokenizer.json" if folder.is_dir() else folder
    if not file.is_file():
        raise DataError(f"{folder}: no tokenizer.json; name a folder of a model, a checkpoint or a package")
    return Reader(open_tokenizer(file), LONGEST)


def check_data(
    data: str,
    parts: Sequence[str],
    task: AnyTask,
    outputs: Outputs,
    reader: Reader,
    layout: Layout,
    max_tokens: int,
    progress: ReportProgress,
) -> DataReport:
    """Look through parts of a data set.

    `max_tokens` is the length at which training would cut. Texts are the same where all fields of their items are.
    """
    looks = [_Look(name, task, outputs) for name in parts]
    for look in looks:
        try:
            for number, found in enumerate(read_answered(data, look.name, task, outputs, reader, layout), start=1):
                look.add(found)
                if number % 100 == 0:
                    progress(look.name, number, 0)
        except UserError as error:
            look.fault = str(error)
    leaks = (_compare(one, other) for one, other in combinations(looks, 2))
    return DataReport(tuple(look.report(max_tokens) for look in looks), tuple(leak for leak in leaks if leak.texts))


class _Look:
    """The contents of a part as far as it was read."""

    def __init__(self, name: str, task: AnyTask, outputs: Outputs) -> None:
        self.name = name
        self.fault: str | None = None
        self.answers: dict[bytes, bytes] = {}
        """The digest of the first right answer by that of the text."""
        self._task, self._outputs = task, outputs
        self._columns: Mapping[str, str] = {}
        self._reasons: list[str] = []
        self._bad = self._left_out = self._duplicates = 0
        self._labels: Counter[str] = Counter()
        self._lengths: Counter[int] = Counter()
        self._conflicting: set[bytes] = set()

    def add(self, found: AnsweredRecord | BadRecord) -> None:
        """Count a record."""
        if isinstance(found, LeftOutRecord):
            self._left_out += 1
        elif isinstance(found, BadRecord):
            self._bad += 1
            if len(self._reasons) < MOST_REASONS:
                self._reasons.append(f"record {found.number}: {found.reason}")
        else:
            self._add_answered(found)

    def report(self, max_tokens: int) -> PartReport:
        """All that was counted."""
        read = sum(self._lengths.values())
        fault = self.fault
        if fault is None and (are_too_many(self._bad, read + self._bad) or not read):
            fault = f"{self._bad} of {read + self._bad} records cannot be used" if self._bad else "no records"
        return PartReport(
            name=self.name,
            fault=fault,
            columns=self._columns,
            records=read + self._bad + self._left_out,
            bad=self._bad,
            left_out=self._left_out,
            # A part that cannot be read as a whole says why once.
            reasons=tuple(self._reasons) if self.fault is None else (),
            labels=dict(sorted(self._labels.items(), key=lambda one: (-one[1], one[0]))),
            lengths=_summarize(self._lengths, max_tokens) if read else None,
            duplicates=self._duplicates,
            conflicting=len(self._conflicting),
        )

    def _add_answered(self, found: AnsweredRecord) -> None:
        if not self._columns:
            target = {} if found.target_column is None else {str(self._task.target_column): found.target_column}
            self._columns = {**found.columns, **target}
        self._lengths[max(map(len, found.encoded.rows))] += 1
        self._labels.update(_name(found.target, self._task, self._outputs))
        text = _digest(json.dumps(found.item.model_dump(exclude={"id"}), sort_keys=True))
        answer = _digest(repr(found.target))
        self._duplicates += text in self.answers
        if self.answers.setdefault(text, answer) != answer:
            self._conflicting.add(text)


def _digest(value: str) -> bytes:
    return hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _name(target: Any, task: AnyTask, outputs: Outputs) -> Iterator[str]:
    """The labels of a right answer: its own, or the kind of each entity; none where it is text or a score."""
    if task.head == "token-classification":
        yield from (kind for _, kind in find_entities([outputs.labels[number] for number in target]))
    elif task.head == "sequence-classification" and isinstance(target, int):
        yield outputs.labels[target]
    elif task.head == "multi-label-classification":
        yield from (label for label, held in zip(outputs.labels, target, strict=True) if held)
    elif task.head == "multiple-choice":
        yield f"choice {target}"


def _summarize(lengths: Mapping[int, int], max_tokens: int) -> Lengths:
    count = sum(lengths.values())
    cut = sum(times for length, times in lengths.items() if length > max_tokens)
    return Lengths(_at(lengths, count / 2), _at(lengths, 0.95 * count), max(lengths), cut)


def _at(lengths: Mapping[int, int], place: float) -> int:
    """The least length that so many items do not exceed."""
    seen = 0
    for length in sorted(lengths):
        seen += lengths[length]
        if seen >= place:
            break
    return length


def _compare(one: _Look, other: _Look) -> Leak:
    shared = one.answers.keys() & other.answers.keys()
    return Leak((one.name, other.name), len(shared), sum(one.answers[text] != other.answers[text] for text in shared))
