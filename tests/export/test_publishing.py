"""The folder in which a package is made."""

import errno
import re
from pathlib import Path

import pytest

from export.publishing import workplace
from tests.models.test_atomic import files_end_at


def test_a_full_disk_is_told_by_the_package_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "packages" / "mood"
    with files_end_at(4096), pytest.raises(OSError, match=re.escape(str(out))) as raised, workplace(out) as work:
        (work / "model.onnx").write_bytes(bytes(100_000))
    assert raised.value.errno == errno.EFBIG
    assert not list(out.parent.iterdir())
