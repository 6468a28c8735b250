"""Saves pages for a browser, and other texts that commands write beside what they print."""

from pathlib import Path

from models.atomic import UNFINISHED, atomic_write
from models.errors import UserError
from models.folders import check_writable


class PageError(UserError):
    """The page cannot be written under the name that was given."""


def check_page(path: Path, option: str) -> None:
    """Refuse a name that no page can have, before anything is computed; raises PageError, NotWritable."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise PageError(f"{path}: a page's name ends in .html; choose another name with {option}")
    check_writable(path, option)


def save_text(path: Path, text: str) -> None:
    """Write a page or another text as a whole; one of that name is replaced."""
    with atomic_write(path, unfinished=path.with_name(f".{path.name}{UNFINISHED}")) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
