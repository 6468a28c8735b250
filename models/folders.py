"""Folders that commands read and write: checked before anything slow starts, and told apart from ids on a hub."""

from pathlib import Path

from models.errors import UserError


class NoSuchFolder(UserError):
    """A name that can only be a folder's, and no folder has it."""


class AlreadyThere(UserError):
    """Something is where a new folder should go; nothing is ever overwritten."""


def check_new(folder: Path) -> None:
    """Refuse a folder to write to that exists already; raises AlreadyThere."""
    if folder.exists():
        raise AlreadyThere(f"{folder}: exists already; choose another name or remove it")


def check_folder(name: str) -> None:
    """Refuse a name that looks like a folder's and is not there; any other name may still be an id on a hub.

    An id is NAME or OWNER/NAME, with :CONFIGURATION behind it for a data set. OWNER/NAME looks like a folder where a
    folder OWNER is here.

    Raises:
        NoSuchFolder: there is no such folder.
    """
    path = Path(name)
    if _looks_like_path(name) and not path.is_dir():
        what = "a file, not a folder" if path.is_file() else "no such folder"
        raise NoSuchFolder(f"{name}: {what}")


def _looks_like_path(name: str) -> bool:
    if Path(name).exists() or name.startswith((".", "/", "~")) or "\\" in name:
        return True
    owner, *rest = name.split("/")
    return len(rest) > 1 or rest == [""] or (len(rest) == 1 and Path(owner).is_dir())
