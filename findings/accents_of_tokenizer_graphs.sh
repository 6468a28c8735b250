#!/bin/sh
# onnxruntime-extensions 0.15.2 (onnxruntime 1.31.1, transformers 4.57.6): the tokenizer of an uncased BERT keeps accents once it is in a
# graph, and cuts words at them.
#
# Guess: the graph reads "naïve" as the tokenizer does, which is "naive". `strip_accents` is null in the configuration of almost
# every uncased BERT, and null means: as `do_lower_case` says.
#
# Seen: the converter takes null for false. Letters are made small, but keep their accents, and no uncased vocabulary has such
# words. The operator then does not give one [UNK] for the word, as WordPiece does: it gives the pieces that it knows and one [UNK] for
# the rest, "na [UNK]". The same holds of any word with a letter that the vocabulary lacks. `strip_accents=True`, written
# out before the export, mends the accents and leaves the rest.
#
# Whom it hurts: who serves text with names such as Zoë, Müller or Beyoncé: the answers differ from those of the model that was
# measured, without an error, and English test texts do not show it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q onnxruntime==1.31.1 onnx==1.23.2 onnxruntime-extensions==0.15.2 transformers==4.57.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2>"$folder/log" || { cat "$folder/log"; exit 1; }
import sys

import numpy as np
import onnxruntime
import onnxruntime_extensions
from transformers import BertTokenizerFast

file = f"{sys.argv[1]}/vocab.txt"
WORDS = "a naive na ##ive zoe zo film good ##s".split()
with open(file, "w", encoding="utf-8") as lines:
    print("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, sep="\n", file=lines)


def pieces(tokenizer, text):
    """What the tokenizer makes of the text, by itself and in a graph."""
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(onnxruntime_extensions.get_library_path())
    graph = onnxruntime_extensions.gen_processing_models(tokenizer, pre_kwargs={})[0]
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
    found = session.run(["input_ids"], {"text": np.array([text])})[0].ravel().tolist()
    alone, there = (tokenizer.convert_ids_to_tokens(ids)[1:-1] for ids in (tokenizer(text)["input_ids"], found))
    print(f"{text!r}, strip_accents {tokenizer.init_kwargs.get('strip_accents')}: {alone}, in the graph {there}")
    return alone, there


null, true = BertTokenizerFast(file), BertTokenizerFast(file, strip_accents=True)
assert null.do_lower_case and null.init_kwargs.get("strip_accents") is None
assert pieces(null, "a naive film") == (["a", "naive", "film"],) * 2
assert pieces(null, "a naïve film") == (["a", "naive", "film"], ["a", "na", "[UNK]", "film"])
assert pieces(null, "Zoë films") == (["zoe", "film", "##s"], ["zo", "[UNK]", "film", "##s"])
assert pieces(true, "a naïve film") == (["a", "naive", "film"],) * 2
assert pieces(true, "goodњ film") == (["[UNK]", "film"], ["good", "[UNK]", "film"])
PYTHON
