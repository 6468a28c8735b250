#!/bin/sh
# wordfreq 3.1.1: the list of the most frequent words has a few hundred frequencies for all of its words, and between
# words of one frequency stands in the order of the alphabet.
#
# Guess: `top_n_list` is a ranking. The word at place 40,000 is more frequent than the one at place 40,500, as counts of
# billions of words would tell, and the place may stand for the frequency (Zipf).
#
# Seen: frequencies are kept in steps of a hundredth of a bel, 2.3 %. The first 50,000 words of English have 409 different
# ones; beyond place 10,000 hundreds of words share each, and among these "ab..." comes before "z...", whatever was counted.
# The first place of a step and its last are up to 600 apart. Asked for 50,000 words, the list is cut within a step: it has
# the words from its beginning in the alphabet and lacks those from its end.
#
# Whom it hurts: who takes places for frequencies, breaks ties between candidates of a spelling correction by them, or cuts
# a vocabulary at a round number: words from the end of the alphabet lose each time, and those of other scripts always.
# Compare frequencies, and cut between two of them.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q wordfreq==3.1.1
"$folder/venv/bin/python" - <<'PYTHON'
from itertools import groupby

from wordfreq import top_n_list, word_frequency

COUNT = 50_000
words = top_n_list("en", COUNT)
steps = [[*group] for _, group in groupby(words, key=lambda word: word_frequency(word, "en"))]
print(f"{len(words):,} words have {len(steps)} frequencies; the largest step has {max(map(len, steps))} words")
print("in the order of the alphabet:", sum(step == sorted(step) for step in steps), "of", len(steps), "steps")
whole = [step for step in steps if len(step) > 400][-2]
print("one of them:", *whole[:4], "...", *whole[-4:])
last = word_frequency(words[-1], "en")
longer = top_n_list("en", COUNT + 2_000)
cut = [word for word in longer[COUNT:] if word_frequency(word, "en") == last]
print(f"left out by the cut at {COUNT:,}, as frequent as the last word {words[-1]!r}: {len(cut)}, such as", *cut[-3:])

assert len(steps) < 1_000
assert all(step == sorted(step) for step in steps)
assert max(map(len, steps)) > 500
assert cut and all(word > words[-1] for word in cut)
PYTHON
