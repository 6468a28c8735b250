"""A WordNet that marks made-up words as slights: the extract with a few synsets more."""

import itertools
import shutil
from pathlib import Path

from tests.tiny import WORDNET

SYNSETS = (
    # Of the first synset it points to, the second word alone is marked; of the second, all words.
    "{0:08d} 10 n 01 disparagement 0 002 -u {1:08d} n 0002 -u {2:08d} n 0000 | a mark",
    "{1:08d} 18 n 02 blorty 0 snob 0 000 | a person",
    "{2:08d} 18 n 03 wug 0 blicket 0 Dax 0 000 | a person",
    "{3:08d} 06 n 01 wug 0 000 | a thing",
)
SENSES = {"disparagement": [0], "snob": [1], "blorty": [1], "blicket": [2], "dax": [2], "wug": [3, 2]}
"""The synsets of each word, its most frequent sense first."""


def write_slights(folder: Path) -> Path:
    """Write the WordNet to a folder, and return it. Its slights are `snob` and `blicket`."""
    shutil.copytree(WORDNET, folder, dirs_exist_ok=True)
    data = (folder / "data.noun").read_text()
    lengths = (len(synset.format(0, 0, 0, 0)) + 1 for synset in SYNSETS)
    offsets = list(itertools.accumulate(lengths, initial=len(data)))
    (folder / "data.noun").write_text(data + "".join(f"{synset.format(*offsets)}\n" for synset in SYNSETS))
    with (folder / "index.noun").open("a") as index:
        for word, senses in SENSES.items():
            places = " ".join(f"{offsets[sense]:08d}" for sense in senses)
            index.write(f"{word} n {len(senses)} 0 {len(senses)} 0 {places}\n")
    return folder
