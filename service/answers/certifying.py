"""Certifies answers by trying: every edit of one word of a family is read and answered, in the background.

The families are finite and a row's logits are the same bits in any batch, so that a certificate is no estimate.
"""

import importlib.util
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from models.edits import find_family
from models.edits.family import Family, replace
from models.synonyms.wordnet import WordNetError
from models.tasks.task import AnyTask, Item, TaskAnswer
from models.text import BadInput, Row, Truncation
from service.answers.batch import Edit, EncodedItem, Trials
from service.answers.certificate import CertificateTooLong, CertifiedFamily
from service.answers.errors import CertificateNotOffered
from service.answers.model import LoadedModel
from service.engine.errors import DeadlineExceeded
from service.engine.futures import one_by_one, otherwise, settled, then
from service.engine.submission import EngineResult

CHUNK_ROWS = 128
"""Rows of one input that are handed in at once: several batches, and little memory."""


@dataclass(frozen=True, kw_only=True)
class CertifyingSettings:
    """The settings that hold for all certificates of one request."""

    family: Family
    truncation: Truncation
    deadline: float | None
    """On the clock of `time.monotonic`: when the answers go without the certificates that are not there yet."""
    tenant: str = ""
    max_rows: int
    """Most rows to compute for one input."""


def find_certified(name: CertifiedFamily) -> Family:
    """The family of edits; raises CertificateNotOffered where what it needs is not installed."""
    missing = [module for module in ("textblob", "lemminflect") if importlib.util.find_spec(module) is None]
    try:
        if name == "synonyms" and missing:
            raise CertificateNotOffered(
                f"{' and '.join(missing)} not installed where the model runs, and synonyms need them: "
                "run pip install -e '.[synonyms]' in its clone, or certify 'typos'"
            )
        return find_family(name)
    except WordNetError as error:
        raise CertificateNotOffered(
            "synonyms are read from WordNet, which is not installed where the model runs: install the Debian package "
            "wordnet-base there, or name the folder of its files in WNSEARCHDIR, or certify 'typos'"
        ) from error


def list_edits(task: AnyTask, item: Item, family: Family) -> Iterator[Edit]:
    """Every edit of the item by the family, in the order of its fields, of their words, and of the replacements."""
    for field in task.edited_fields:
        text = getattr(item, field)
        for span in family.spans(text):
            for word in family.candidates(text, span):
                yield Edit(field, span, word)


def apply_edit(item: Item, edit: Edit) -> Item:
    """The item with one word replaced."""
    return item.model_copy(update={edit.field: replace(getattr(item, edit.field), edit.span, edit.replacement)})


def refuse_many(task: AnyTask, item: EncodedItem, settings: CertifyingSettings) -> CertificateTooLong | None:
    """The reason why an item is not certified; None where it can be. The edits are counted no further than needed."""
    rows = len(item.encoded.rows)
    most = settings.max_rows // rows
    if sum(1 for _ in islice(list_edits(task, item.item, settings.family), most + 1)) <= most:
        return None
    unit = "edits to try" if rows == 1 else f"edits to try, each of {rows} rows"
    return CertificateTooLong(
        f"more than {most:,} {unit}; at most {settings.max_rows:,} rows are computed for a certificate: "
        "shorten the text"
    )


def certify_item(
    model: LoadedModel, item: EncodedItem, answer: TaskAnswer, settings: CertifyingSettings
) -> Future[Trials | CertificateTooLong]:
    """Try every edit of an answered item, unless the deadline comes before. It may hold BrokenModel or EngineClosed.

    The request was let into the queue with its first rows, so these are let in even where the queue is full. When the
    future is cancelled, the rows that still wait are not computed.
    """
    edits = list_edits(model.task, item.item, settings.family)
    size = max(1, CHUNK_ROWS // len(item.encoded.rows))
    chunks = iter(lambda: list(islice(edits, size)), [])
    starts = (partial(_try_edits, model, item, answer, chunk, settings) for chunk in chunks)
    return otherwise(then(one_by_one(starts), _sum), DeadlineExceeded, _too_late)


def _too_late() -> CertificateTooLong:
    return CertificateTooLong(
        "the time allowed for the request is over before all edits are tried: ask for certificates of fewer or shorter "
        "inputs at once, or allow more time"
    )


def _try_edits(
    model: LoadedModel,
    item: EncodedItem,
    answer: TaskAnswer,
    edits: Sequence[Edit],
    settings: CertifyingSettings,
) -> Future[Trials]:
    if settings.deadline is not None and time.monotonic() >= settings.deadline:
        # Before the texts are read, which takes longer than to answer them.
        raise DeadlineExceeded("the deadline passed before all edits were tried")
    # An edited text may have more tokens than the row that was just long enough, so windows stand for "error".
    truncation: Truncation = "right" if settings.truncation == "right" else "window"
    read = [(edit, one) for edit in edits if (one := _read(model, apply_edit(item.item, edit), truncation))]
    rows, places = _distinct([row for _, one in read for row in one.encoded.rows])
    if not rows:
        return settled(Trials(len(edits), 0, None))

    def compare(computed: EngineResult) -> Trials:
        model.refuse_broken(computed.rows)
        arrays = (computed.rows[place] for place in places)
        answers = [(edit, _answer(model, one, [next(arrays) for _ in one.encoded.rows])) for edit, one in read]
        changing = (pair for pair in answers if model.task.changed(answer, pair[1]))
        return Trials(len(edits), len(read), next(changing, None))

    submitted = model.submit(
        rows, ("logits",), deadline=settings.deadline, tenant=settings.tenant, admitted=True, background=True
    )
    return then(submitted, compare)


def _distinct(rows: Sequence[Row]) -> tuple[list[Row], list[int]]:
    """The rows that differ, and for each of all rows the place of its like there. Most edits may be corrected away."""
    keys = [(tuple(row.ids), tuple(row.type_ids)) for row in rows]
    distinct = dict(zip(keys, rows, strict=True))
    places = {key: place for place, key in enumerate(distinct)}
    return [*distinct.values()], [places[key] for key in keys]


def _read(model: LoadedModel, item: Item, truncation: Truncation) -> EncodedItem | None:
    try:
        return EncodedItem(0, item, model.encode(item, truncation))
    except BadInput:
        return None


def _answer(model: LoadedModel, item: EncodedItem, arrays: Sequence[Any]) -> TaskAnswer:
    answer: TaskAnswer = model.predict(arrays, item).answer
    return answer


def _sum(trials: Sequence[Trials]) -> Trials:
    changing = next((one.changing for one in trials if one.changing), None)
    return Trials(sum(one.edits for one in trials), sum(one.tried for one in trials), changing)
