"""`steadfast models` on terminals of any width."""

import re
from collections import Counter
from pathlib import Path

import pytest

from export.package import Manifest, read_manifest
from service.cli.listing import show_models

ZOO = Path(__file__).parents[3] / "zoo"
FIGURE = re.compile(r"(?<![\d.])-?\d\.\d{4}(?![\d])")


def _with_other_twins(manifest: Manifest) -> Manifest:
    """With names of methods that are shorter than figures."""
    return manifest.model_copy(
        update={"twins": tuple(twin.model_copy(update={"method": f"m{n}"}) for n, twin in enumerate(manifest.twins))}
    )


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_no_width_breaks_a_figure(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = [read_manifest(folder.parent) for folder in sorted(ZOO.glob("*/package.json"))]
    manifests += map(_with_other_twins, manifests[:])
    show_models(manifests, as_markdown=True)
    figures = Counter(FIGURE.findall(capsys.readouterr().out))
    monkeypatch.setenv("COLUMNS", str(columns))
    show_models(manifests, as_markdown=False)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= columns
    assert Counter(FIGURE.findall(shown)) == figures
