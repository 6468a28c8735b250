"""Items that every package is tried with: their outputs are recorded at export and compared by `verify` and at start.

The texts were written for this file. A new task adds its items to `ITEMS`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from export.package import Probe
from export.session import OUTPUTS, Session
from models.tasks.task import AnyTask
from models.text import Reader, Row

_REVIEW = (
    "I booked this boat trip for my mother's birthday and I still do not know what to think of it. The skipper was "
    "kind, patient with the children and clearly in love with the coast; he knew every rock by its name. The lunch, "
    "on the other hand, was cold, and somebody had forgotten the bread. We saw two seals and one very bored dolphin. "
    "Then the rain came, the cabin leaked, and half of us spent the last hour under a tarpaulin, singing. My mother "
    "laughed until she cried. Would I pay that price a second time? Probably not. Would she go again tomorrow? She "
    "has already asked me twice. "
)

ITEMS: dict[str, tuple[dict[str, Any], ...]] = {
    "sentiment": (
        {"text": "Marvellous"},
        {"text": "no."},
        {"text": "I would not sit through this again if you paid me."},
        {"text": "THE BEST SOUP I HAVE HAD ALL YEAR!!!"},
        {"text": "It isn't bad, but nobody would call it good, either; it's just there."},
        {"text": "Une soirée délicieuse : le café était très bon, l'accueil naïf mais charmant."},
        {"text": "这家店的面太咸了，等了一个小时，再也不来了。"},
        {"text": "so happy with these 😍🎉 my dad wears them every day 👍🏽"},
        {"text": "2/5 - came 3 days late, box torn, €14.99 wasted :-("},
        {"text": "Ünïcödé ﬁne print… and\ttabs\nand lines, “quotes” & <b>tags</b>: all of it arrived intact."},
        {"text": _REVIEW * 5},
    ),
}
"""By task; the last is longer than one window of 512 tokens where the task can read windows."""


def record_probes(task: AnyTask, reader: Reader, session: Session) -> tuple[Probe, ...]:
    """Each of the task's items with what the graph says of it."""
    return tuple(
        Probe(item=item, outputs=probe_outputs(task, reader, session, item, OUTPUTS)) for item in ITEMS[task.name]
    )


def probe_outputs(
    task: AnyTask, reader: Reader, session: Session, item: dict[str, Any], outputs: Sequence[str]
) -> dict[str, list[list[float]]]:
    """What the graph says of an item, one list a row, its rows computed together."""
    computed = session.run(task.encode(task.item.model_validate(item), reader, "window").rows, outputs)
    return {name: [arrays[name].tolist() for arrays in computed] for name in outputs}


def rows_of_many_lengths(task: AnyTask, reader: Reader, count: int = 64) -> list[Row]:
    """Rows made of the items' first words, no two of one length, from the shortest to a full one."""
    rows = {len(row): row for item in _beginnings(task) for row in task.encode(item, reader, "right").rows}
    lengths = sorted(rows)
    chosen = {lengths[index * (len(lengths) - 1) // (count - 1)] for index in range(count)}
    return [rows[length] for length in sorted(chosen)]


def _beginnings(task: AnyTask) -> Iterator[Any]:
    for item in ITEMS[task.name]:
        texts = {field: item[field].split() for field in task.columns}
        for words in range(1, max(map(len, texts.values())) + 1):
            cut = {field: " ".join(text[:words]) for field, text in texts.items()}
            yield task.item.model_validate(item | cut)
