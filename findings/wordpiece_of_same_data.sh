#!/bin/sh
# tokenizers 0.22.2: training WordPiece twice on the same data gives other ids, and at times other tokens; BPE does not.
#
# Guess: training a vocabulary counts and merges, draws no random numbers and takes no seed, so the same data give the
# same file. The trainer of WordPiece is that of BPE with a prefix on inner pieces, and BPE gives the same file each time.
#
# Seen: eight trainings in one process give eight vocabularies of WordPiece and one of BPE. Letters inside words get their
# ids in the order of a hash table, which is another at each training; and as equal counts are decided by ids, some merges,
# and with them the tokens of some words, differ too. Neither one thread nor PYTHONHASHSEED changes that.
#
# Whom it hurts: who makes the vocabulary anew beside a checkpoint instead of keeping it (the ids of all inner letters mean
# other rows of the embedding, and nothing fails), who names artefacts by checksum, and who compares two trainings of
# one seed. Train the vocabulary once and keep its file with the weights.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q tokenizers==0.22.2
TOKENIZERS_PARALLELISM=false RAYON_NUM_THREADS=1 PYTHONHASHSEED=0 "$folder/venv/bin/python" - <<'PYTHON'
import random

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

TRAININGS = 8
draw = random.Random(0)
words = ["".join(draw.choice("abcdefgh") for _ in range(draw.randint(2, 8))) for _ in range(300)]
texts = [" ".join(draw.choice(words) for _ in range(20)) for _ in range(300)]


def train(model, trainer):
    tokenizer = Tokenizer(model(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(texts, trainer(vocab_size=200, special_tokens=["[UNK]"], show_progress=False))
    ids = tuple(sorted(tokenizer.get_vocab().items()))
    return ids, tuple(tuple(tokenizer.encode(word).tokens) for word in words)


different = {}
for model, trainer in ((models.BPE, trainers.BpeTrainer), (models.WordPiece, trainers.WordPieceTrainer)):
    name = model.__name__
    trained = [train(model, trainer) for _ in range(TRAININGS)]
    different[name] = len({ids for ids, _ in trained})
    cuts = len({tokens for _, tokens in trained})
    print(f"{name}: {TRAININGS} trainings, {different[name]} vocabularies, {cuts} ways to cut the words")

assert different["BPE"] == 1
assert different["WordPiece"] > 1
PYTHON
