"""Items that every package is tried with: their outputs are recorded at export and compared by `verify` and at start.

The texts were written for this file. A new task adds its items to `ITEMS`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from export.package import Probe
from export.session import Session
from models.tasks.task import AnyTask
from models.text import BadInput, Reader, Row

_REVIEW = (
    "I booked this boat trip for my mother's birthday and I still do not know what to think of it. The skipper was "
    "kind, patient with the children and clearly in love with the coast; he knew every rock by its name. The lunch, "
    "on the other hand, was cold, and somebody had forgotten the bread. We saw two seals and one very bored dolphin. "
    "Then the rain came, the cabin leaked, and half of us spent the last hour under a tarpaulin, singing. My mother "
    "laughed until she cried. Would I pay that price a second time? Probably not. Would she go again tomorrow? She "
    "has already asked me twice. "
)

_SHORT_TEXTS = (
    "Marvellous",
    "no.",
    "I would not sit through this again if you paid me.",
    "THE BEST SOUP I HAVE HAD ALL YEAR!!!",
    "It isn't bad, but nobody would call it good, either; it's just there.",
    "Une soirée délicieuse : le café était très bon, l'accueil naïf mais charmant.",
    "这家店的面太咸了，等了一个小时，再也不来了。",
    "so happy with these 😍🎉 my dad wears them every day 👍🏽",
    "2/5 - came 3 days late, box torn, €14.99 wasted :-(",
    "Ünïcödé ﬁne print… and\ttabs\nand lines, “quotes” & <b>tags</b>: all of it arrived intact.",
)

_PAIRS = (
    ("Marvellous", "Great"),
    ("The skipper knew every rock by its name.", "The skipper knows the coast well."),
    ("Nobody on the boat had seen a seal before.", "Everybody on board had seen many seals."),
    ("My mother laughed until she cried.", "The lunch was served at noon."),
    ("How long does the ferry to the island take?", "What is the duration of the crossing to the island?"),
    ("Can I bring my dog on the boat?", "Can I bring my boat to the dog show?"),
    ("Le café était très bon.", "这家店的面太咸了。"),
    ("so happy with these 😍🎉", "my dad wears them every day 👍🏽"),
    ("The ticket costs €14.99, children travel for half.", "A child's ticket is about €7.50."),
    (_REVIEW * 5, "It rained in the afternoon."),
)

_PLACES = (
    "Marvellous",
    "Ada Lovelace",
    "Next Friday @skipper_tom takes the Saint Brendan from Galway to Inis Mór, weather permitting.",
    "my nan still swears by her Singer, bought at Arnotts on Henry Street in 1962 #sewing",
    "We read Ulysses in class; James Joyce would've laughed at O'Brien's essay.",
    "lost my phone at the AT&T store in São Paulo 😭 anyone from the Coca-Cola crew seen it??",
    "昨天我们在上海看了张艺谋的电影。",
    "IBM, NASA and the U.N. sent people; Bus Éireann sent a bus.",
    "http://example.org/a-b?c=d says it opens 3,000 seats at Croke Park\ton 9/11",
    _REVIEW * 5 + "The Saint Brendan sails again from Galway on Sunday.",
)

_QUESTIONS = (
    ("The lunch was cold.", "What was cold?", ("The lunch.", "The sea.")),
    (_REVIEW, "What was wrong with the lunch?", ("It was late.", "It was cold.", "There was too much of it.")),
    (_REVIEW, "Who laughed?", ("The skipper", "The children", "The dolphin", "The mother")),
    (
        "W: Is this seat taken?\nM: My wife is just getting us some tea.\nW: Then I'll stand.",
        "Where are they most probably?",
        ("In a café.", "At a bank.", "In a swimming pool."),
    ),
    ("The ferry leaves at 9 and at 11.", "How many ferries are there?", ("One", "Two", "Three", "Four", "Five")),
    ("The soup was salty, the bread was fresh.", "Which was good?", ("the soup", "the bread")),
    ("Le café ouvre à huit heures.", "When does the café open?", ("at 8 😀", "at noon", "never", "à minuit")),
    (_REVIEW * 5, "Did the cabin leak?", ("no", "yes")),
)

ITEMS: dict[str, tuple[dict[str, Any], ...]] = {
    "sentiment": (*({"text": text} for text in _SHORT_TEXTS), {"text": _REVIEW * 5}),
    "nli": tuple({"premise": premise, "hypothesis": hypothesis} for premise, hypothesis in _PAIRS),
    "sts": tuple({"text_a": one, "text_b": other} for one, other in _PAIRS),
    "paraphrase": tuple({"text_a": one, "text_b": other} for one, other in _PAIRS),
    "ner": tuple({"text": text} for text in _PLACES),
    "extractive-reading-comprehension": tuple(
        {"context": context, "question": question} for context, question, _ in _QUESTIONS
    ),
    "reading-comprehension": tuple(
        {"context": context, "question": question, "choices": list(choices)}
        for context, question, choices in _QUESTIONS
    ),
}
"""By task; the last is longer than one window of 512 tokens."""


def record_probes(task: AnyTask, reader: Reader, session: Session) -> tuple[Probe, ...]:
    """Each of the task's items that this model's rows can hold, with what the graph says of it."""
    return tuple(
        Probe(item=item, outputs=probe_outputs(task, reader, session, item, session.outputs))
        for item in ITEMS[task.name]
        if _is_readable(task, reader, item)
    )


def probe_outputs(
    task: AnyTask, reader: Reader, session: Session, item: dict[str, Any], outputs: Sequence[str]
) -> dict[str, list[list[float]]]:
    """What the graph says of an item, one list a row, its rows computed together."""
    computed = session.run(probe_rows(task, reader, item), outputs)
    return {name: [arrays[name].ravel().tolist() for arrays in computed] for name in outputs}


def probe_rows(task: AnyTask, reader: Reader, item: dict[str, Any]) -> tuple[Row, ...]:
    """An item's rows, to be read at the middle by a graph that can read anywhere."""
    rows = task.encode(task.item.model_validate(item), reader, "window").rows
    return tuple(replace(row, read_at=len(row) // 2) for row in rows)


def rows_of_many_lengths(task: AnyTask, reader: Reader, count: int = 64) -> list[Row]:
    """Rows made of the items' first words, no two of one length, from the shortest to a full one."""
    rows: dict[int, Row] = {}
    for whole in ITEMS[task.name]:
        if _is_readable(task, reader, whole):
            rows |= {len(row): row for row in _growing_rows(task, reader, whole)}
    lengths = sorted(rows)
    chosen = {lengths[index * (len(lengths) - 1) // (count - 1)] for index in range(count)}
    return [rows[length] for length in sorted(chosen)]


def _is_readable(task: AnyTask, reader: Reader, item: dict[str, Any]) -> bool:
    try:
        probe_rows(task, reader, item)
    except BadInput:
        return False
    return True


def _growing_rows(task: AnyTask, reader: Reader, item: dict[str, Any]) -> Iterator[Row]:
    """First rows of the item with its longest text cut after each of its words, until one is full."""
    longest = max(task.columns, key=lambda field: len(item[field]) if isinstance(item[field], str) else 0)
    words = item[longest].split()
    for count in range(1, len(words) + 1):
        row = probe_rows(task, reader, item | {longest: " ".join(words[:count])})[0]
        yield row
        if len(row) == reader.limits.max_tokens:
            return


def distance(expected: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> float:
    """Largest absolute difference; infinite where the rows are of other shapes or hold what is no number."""
    if list(map(len, expected)) != list(map(len, found)):
        return math.inf
    difference = max(float(np.abs(np.subtract(*pair)).max()) for pair in zip(expected, found, strict=True))
    return math.inf if math.isnan(difference) else difference
