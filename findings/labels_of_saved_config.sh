#!/bin/sh
# transformers 4.57.6: saving a configuration sorts `label2id` by name and `id2label` by number; each can be lost or left behind.
#
# Guess: the two are one mapping and its reverse. JSON keeps the order of keys, so that `list(config.label2id)` names the classes
# in order before and after saving. Whoever gives one of them gets both.
#
# Seen: before saving, label2id lists the classes in the order of their numbers; after loading, in that of the alphabet, while
# id2label keeps its order. `label2id` alone is dropped without a word: four labels given, and the model gets two outputs named
# LABEL_0 and LABEL_1. A new `id2label` at loading leaves the old label2id beside it, so that one name has two numbers; this
# pair is saved again as it is.
#
# Whom it hurts: who takes the names of classes from `list(model.config.label2id)`, in a report, a confusion matrix or a server.
# The names are right in the notebook that trained the model, and exchanged in the service that loads it. Take the names from
# id2label, by number, and always give both.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q transformers==4.57.6
"$folder/venv/bin/python" - <<'PYTHON'
import tempfile

from transformers import AutoConfig, BertConfig

TOPICS = ["World", "Sports", "Business", "Sci/Tech"]
BY_NAME = {name: number for number, name in enumerate(TOPICS)}


def show(title, config):
    print(f"{title}: id2label {config.id2label}, label2id {config.label2id}")
    return list((config.id2label or {}).values()), list(config.label2id or {})


def saved(config, **changed):
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        return AutoConfig.from_pretrained(folder, **changed)


made = BertConfig(id2label=dict(enumerate(TOPICS)), label2id=BY_NAME)
assert show("made", made) == (TOPICS, TOPICS)
assert show("saved and loaded", saved(made)) == (TOPICS, sorted(TOPICS))

alone = BertConfig(label2id=BY_NAME)
assert show("label2id alone", alone) == (["LABEL_0", "LABEL_1"],) * 2
assert alone.num_labels == 2

turned = saved(made, id2label=dict(enumerate(reversed(TOPICS))))
assert show("loaded with another id2label", turned) == (TOPICS[::-1], sorted(TOPICS))
again = saved(turned)
assert (again.id2label[0], again.label2id["Sci/Tech"]) == ("Sci/Tech", 3)
PYTHON
