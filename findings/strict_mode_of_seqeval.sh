#!/bin/sh
# seqeval 1.2.2: `mode="strict"` alone changes nothing, and neither does `scheme` alone; the score is the lenient one.
#
# Guess: strict mode compares entities by the rules of their scheme. Without a scheme it would find out which one it is, for
# which the library has a function, or ask for it. A scheme without strict mode would at least refuse tags that it lacks.
#
# Seen: the mode is looked at only where a scheme is given too, and the other way round; otherwise both are dropped without an
# error or a warning, and so is a misspelt mode. Under IOB2, an entity predicted as I-PER I-PER for B-PER I-PER then scores
# 1.0, and 0.0 once both are given. In BILOU, which is for strict mode only, the lenient reading loses an entity that another
# one of its type follows: three of four are never counted, in the truth as in the prediction, so that missing all three
# still scores 1.0 with `mode="strict"`, beside a warning that L-LOC seems to be no tag.
#
# Whom it hurts: who reports entity F1 as strict, as it is easy to do through a wrapper that passes the mode on without a
# scheme, and who compares such a figure with one of conlleval or nervaluate. Give both, always.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q seqeval==1.2.2 numpy==2.4.6 scikit-learn==1.9.1
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

from seqeval.metrics import f1_score
from seqeval.scheme import BILOU, IOB2


def score(name, truth, predicted, **choices):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = float(f1_score([truth.split()], [predicted.split()], **choices))
    shown = ", ".join(f"{key}={getattr(choice, '__name__', choice)}" for key, choice in choices.items()) or "nothing"
    print(f"{name}, given {shown}: F1 {value:.2f}, warnings: {len(caught)}")
    return value, len(caught)


lenient = (1.0, 0)
case = ("entity begun by I", "B-PER I-PER O", "I-PER I-PER O")
assert score(*case) == lenient
assert score(*case, mode="strict") == lenient
assert score(*case, mode="strickt") == lenient
assert score(*case, scheme=IOB2) == lenient
assert score(*case, mode="strict", scheme=IOB2) == (0.0, 0)

truth = "B-LOC L-LOC B-LOC L-LOC B-LOC L-LOC B-LOC L-LOC"
case = ("three of four missed", truth, "O O O O O O B-LOC L-LOC")
assert score(*case)[0] == score(*case, mode="strict")[0] == score(*case, scheme=BILOU)[0] == 1.0
assert score(*case, mode="strict", scheme=BILOU)[0] == 0.4
PYTHON
