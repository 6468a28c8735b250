#!/bin/sh
# tokenizers 0.22.2: truncating a pair of long texts makes every window of one text with every window of the other, asked
# for or not.
#
# Guess: truncation keeps the first tokens and drops the rest. Whoever wants the rest gets, for a pair, the windows of the
# text that was cut, and the cost grows with the length of the texts.
#
# Seen: an encoding always carries what was cut, and under the default strategy "longest_first" that is the product of
# the windows of both texts. Texts of twice the length give four times the windows, each with ids, offsets, tokens and
# masks of its own, although the first, which is all that most callers read, has the same few tokens. One text and the
# strategies "only_first" and "only_second" grow with the length, but these cut one text alone.
#
# Whom it hurts: who serves pairs (inference, reranking, question answering) and leaves cutting to the tokenizer, for
# example by `tokenizer(a, b, truncation=True)` in transformers, which throws the windows away again. A limit on the tokens
# of a row does not limit this work. Encode the texts one by one, cut the tokens, and put the row together from them.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q tokenizers==0.22.2
"$folder/venv/bin/python" - <<'PYTHON'
from tokenizers import Tokenizer, models, pre_tokenizers, processors

tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "b": 4}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
)


def windows(strategy, length, *, pair=True):
    """The windows of texts of `length` words cut to rows of 13 tokens, ten of them words."""
    longer = 0 if strategy == "longest_first" or not pair else length
    tokenizer.enable_truncation(max_length=13 + longer, strategy=strategy)
    first, second = "a " * length, "b " * length
    encoding = tokenizer.encode(first, second) if pair else tokenizer.encode(first)
    return 1 + len(encoding.overflowing), len(encoding.ids)


print("words in each text:                 40    80   160")
seen = {}
for name, strategy, pair in (
    ("one text", "longest_first", False),
    ("pair, only_first", "only_first", True),
    ("pair, only_second", "only_second", True),
    ("pair, longest_first", "longest_first", True),
):
    counts = [windows(strategy, length, pair=pair) for length in (40, 80, 160)]
    seen[name] = [count for count, _ in counts]
    print(f"windows, {name:22}", *(f"{count:5}" for count in seen[name]))

assert seen["one text"] == [4, 8, 15]
assert seen["pair, only_first"] == seen["pair, only_second"] == [4, 8, 16]
assert seen["pair, longest_first"] == [8 * 8, 16 * 16, 32 * 32]
assert windows("longest_first", 160)[1] == 13
PYTHON
