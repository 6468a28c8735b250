"""Reading the words that people marked."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.measuring.rationales import MarkedText, RationalesError, read_marked_texts

TOKENS = ["a", "very", "good", "dull", "film"]


def _write(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "marked.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize(
    ("column", "value", "marked", "polarity"),
    [
        ("token_labels", [2, 3, 4, 1, 2], {1, 2, 3}, (0, 1, 2, -1, 0)),
        ("rationales", [[1, 3], [4, 5]], {1, 2, 4}, ()),
        ("human_attention", [[0, 1, 1, 0, 0], [0, 0, 1, 0, 0], [0, 1, 0, 0, 1]], {1, 2}, ()),
        ("human_attention", [[0, 1, 0, 0, 0], [0, 0, 1, 0, 0]], {1, 2}, ()),
    ],
)
def test_each_kind_of_mark_is_read(
    tmp_path: Path, column: str, value: Any, marked: set[int], polarity: tuple[int, ...]
) -> None:
    (text,) = read_marked_texts(_write(tmp_path, {"tokens": TOKENS, "label": 1, column: value}))
    assert text == MarkedText(tuple(TOKENS), frozenset(marked), polarity)


def test_texts_that_compare_with_nothing_are_left_out(tmp_path: Path) -> None:
    spans: list[list[list[int]]] = [[], [[0, 5]], [[0, 1]]]
    path = _write(tmp_path, *({"tokens": TOKENS, "rationales": one} for one in spans))
    assert [text.marked for text in read_marked_texts(path)] == [{0}]


def test_only_so_many_texts_are_drawn_and_always_the_same(tmp_path: Path) -> None:
    path = _write(tmp_path, *({"tokens": [*TOKENS, str(number)], "rationales": [[0, 1]]} for number in range(20)))
    drawn = read_marked_texts(path, 5)
    assert len(drawn) == 5
    assert drawn == read_marked_texts(path, 5)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"tokens": TOKENS}, "needs `tokens` and one of token_labels, rationales, human_attention; it has: tokens"),
        ({"rationales": []}, "needs `tokens` and one of"),
        ({"tokens": TOKENS, "token_labels": [2]}, "token_labels has 1 values for 5 tokens"),
        ({"tokens": TOKENS, "token_labels": [2, 2, 9, 2, 2]}, "token_labels are from 0 to 4"),
        ({"tokens": TOKENS, "rationales": [[4, 9]]}, "rationales are spans of the 5 tokens"),
        ({"tokens": TOKENS, "human_attention": [[1]]}, "human_attention has 1 values for 5 tokens"),
        ({"tokens": TOKENS, "rationales": 3}, "record 1"),
        ({"tokens": TOKENS, "rationales": []}, "no text has both marked and other tokens"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(tmp_path: Path, record: dict[str, Any], said: str) -> None:
    with pytest.raises(RationalesError, match=said):
        read_marked_texts(_write(tmp_path, record))
