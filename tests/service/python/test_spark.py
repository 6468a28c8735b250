"""The recipe for Spark, as docs/python.md has it: the plain function, and the whole in Spark's local mode."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests.service.conftest import ROOT

PLAIN, ON_SPARK = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.DOTALL
)
TEXTS = ["good film", "bad film", None, " ", "a great film"]
LABELS = ["positive", "negative", None, None, "positive"]


@pytest.fixture(autouse=True)
def packages(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the recipe answer by the tiny package."""
    monkeypatch.setenv("STEADFAST_PACKAGES", str(package))
    # Else its workers are started by whichever python3 comes first in PATH.
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)


def test_the_function_of_the_recipe_answers_batch_after_batch() -> None:
    recipe: dict[str, Any] = {}
    exec(PLAIN, recipe)
    batches = [pandas.Series(TEXTS, name="t"), pandas.Series(["bad"], index=[7])]
    first, second = recipe["answers"](iter(batches))
    assert first.astype(object).where(first.notna(), None)["label"].tolist() == LABELS
    assert list(second.columns) == ["label", "score", "error"]
    assert second["label"].tolist() == ["negative"]


@pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="pyspark is not installed")
@pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java for Spark")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_spark_gives_every_row_its_answer() -> None:
    from pyspark.sql import SparkSession

    local = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = local.config("spark.sql.shuffle.partitions", "2").getOrCreate()
    try:
        rows = list(enumerate(TEXTS * 20))
        recipe: dict[str, Any] = {"reviews": spark.createDataFrame(rows, "id int, text string")}
        exec(PLAIN + ON_SPARK, recipe)
        found = {row.id: row for row in recipe["scored"].collect()}
    finally:
        spark.stop()
    assert [found[number].label for number in range(100)] == LABELS * 20
    assert found[3].error.startswith("text: holds no words")
