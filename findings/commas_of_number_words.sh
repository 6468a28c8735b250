#!/bin/sh
# word2number 1.1, num2words 0.5.14: a number that one writes in words, the other reads as another number. A comma is enough.
#
# Guess: what num2words writes, word2number reads back. It removes hyphens, skips "and", and says that it found no
# number where it knows no word.
#
# Seen: "one thousand, one hundred" is read as 101. A word with a comma is no number word, so "thousand," is dropped and the
# rest is put together without it; nothing is raised. Of the numbers from 1,000 to 19,999 nine in ten come back as others.
# Without commas these come back right. Some numbers spoken in two parts do not, and are multiplied: "nineteen eighty four" is
# 19 x 80 + 4 = 1524, and "thirty five hundred" 30 x 5 + 100 = 250.
#
# Whom it hurts: who normalises amounts and years before a model reads them, or makes test sets by writing numbers out. What
# comes back is a smaller whole number that looks plausible. Take commas out first, and read years by a rule of your own.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q word2number==1.1 num2words==0.5.14
"$folder/venv/bin/python" - <<'PYTHON'
from num2words import num2words
from word2number.w2n import word_to_num

FROM, TO = 1_000, 20_000
written = {number: num2words(number) for number in range(FROM, TO)}
read = {number: word_to_num(words) for number, words in written.items()}
with_commas = sum(found != number for number, found in read.items())
assert all(isinstance(found, int) and found <= number for number, found in read.items())
without = sum(word_to_num(words.replace(",", "")) != number for number, words in written.items())
print(f"of {TO - FROM:,} numbers {with_commas:,} come back as others, without commas {without:,}")
for words, read in (
    ("one thousand, one hundred", 101),
    ("one thousand one hundred", 1100),
    ("nineteen eighty four", 1524),
    ("thirty five hundred", 250),
):
    print(f"{words}: {word_to_num(words)}")
    assert word_to_num(words) == read
assert written[1100] == "one thousand, one hundred"
assert with_commas == 17_100 and without == 0
PYTHON
