"""Files that are there whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; what was written takes the name `path` when the block ends.

    A reader of `path` sees the old file or the new one, never a part of it. If the block raises, `path` stays.
    """
    unfinished = path.with_name(path.name + ".writing")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
