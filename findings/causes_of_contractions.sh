#!/bin/sh
# contractions 0.1.73: "the root cause" becomes "the root because", and a garden shed "a garden she would".
#
# Guess: words with an apostrophe are spelt out, and with `slang` a few like "gonna"; where a form without its apostrophe is a
# word of its own, as "ill", "well", "were" and "hell", it is left alone, and these four are.
#
# Seen: "shed" and "shell" are not left alone, nor is "cause", which is 'cause without its apostrophe; only a verb such as "will"
# or "can" before it saves it, and "did cause" becomes "did because". "vitamin B4" becomes "vitamin BEFORE", "an SOS" "an SO IS".
# `slang=False` ends all of these, and `leftovers=False`, which is for forms without their apostrophe, none.
#
# Whom it hurts: who spells texts out before training or matching, as recipes for cleaning text advise: questions about causes
# lose their noun, in one text of a pair more often than in the other.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q contractions==0.1.73
"$folder/venv/bin/python" - <<'PYTHON'
import contractions

ALIKE = ("He was ill.", "It went well.", "They were late.", "War is hell.", "The drug will cause harm.", "It can cause harm.")
CHANGED = {
    "What is the root cause?": "What is the root because?",
    "It did cause harm.": "It did because harm.",
    "He left it in the garden shed.": "He left it in the garden she would.",
    "The snail left its shell.": "The snail left its she will.",
    "It holds vitamin B4.": "It holds vitamin BEFORE.",
    "The ship sent an SOS.": "The ship sent an SO IS.",
}
for text in ALIKE:
    print(f"{text} -> {contractions.fix(text)}")
    assert contractions.fix(text) == text
for text, wanted in CHANGED.items():
    print(f"{text} -> {contractions.fix(text)}")
    assert contractions.fix(text) == contractions.fix(text, leftovers=False) == wanted
    assert contractions.fix(text, slang=False) == text
PYTHON
