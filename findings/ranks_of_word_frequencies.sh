#!/bin/sh
# wordfreq 3.1.1: the 50,000 most frequent words of English have 409 frequencies, and words of one frequency stand in the
# order of their letters.
#
# Guess: `top_n_list` is a ranking. The word at place 39,700 is more frequent than the one at place 40,000, as counts of
# billions of words would tell, and the place may stand for the frequency (Zipf).
#
# Seen: frequencies are kept in steps of some 2.3 %, a hundredth of a power of ten. Beyond place 10,000 each step has 100 to 600
# words, and among these "ab..." comes before "z...", and accents and signs come last, whatever was counted. Asked for
# 50,000 words, the list is cut within a step: it has the words from its beginning and lacks those from its end.
#
# Whom it hurts: who takes places for frequencies, breaks ties between candidates of a spelling correction by them, or cuts
# a vocabulary at a round number: words from the end of the alphabet lose each time. Compare frequencies, and cut between
# two of them.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q wordfreq==3.1.1
"$folder/venv/bin/python" - <<'PYTHON'
from itertools import accumulate, groupby

from wordfreq import top_n_list, word_frequency

COUNT = 50_000
words = top_n_list("en", COUNT)
steps = [[*group] for _, group in groupby(words, key=lambda word: word_frequency(word, "en"))]
print(f"{len(words):,} words have {len(steps)} frequencies; the largest step has {max(map(len, steps))} words")
print("in the order of their letters:", sum(step == sorted(step) for step in steps), "of", len(steps), "steps")
starts = [*accumulate(map(len, steps), initial=0)]
late = [len(step) for start, step in zip(starts, steps) if 10_000 <= start and start + len(step) < COUNT]
print(f"words in a step beyond place 10,000: {min(late)} to {max(late)}")
frequencies = [word_frequency(step[0], "en") for step in steps]
ratios = [more / less for more, less in zip(frequencies[-100:], frequencies[-99:])]
print(f"a step is {min(ratios):.3f} to {max(ratios):.3f} times the next")
whole = [step for step in steps if len(step) > 400][-2]
print("one of them:", *whole[:4], "...", *whole[-4:])
last = word_frequency(words[-1], "en")
longer = top_n_list("en", COUNT + 2_000)
cut = [word for word in longer[COUNT:] if word_frequency(word, "en") == last]
print(f"left out by the cut at {COUNT:,}, as frequent as the last word {words[-1]!r}: {len(cut)}, such as", *cut[-3:])

assert len(steps) < 1_000
assert min(late) > 100
assert 1.01 < min(ratios) < max(ratios) < 1.04
assert all(step == sorted(step) for step in steps)
assert max(map(len, steps)) > 500
assert cut and all(word > words[-1] for word in cut)
PYTHON
