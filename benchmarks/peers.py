"""Attacks a running server with TextAttack, to compare `steadfast attack` with a search that others wrote.

Runs in an environment of its own, with `pip install --no-deps textattack==0.3.11 flair==0.15.1` and then whatever
`import textattack` asks for, likewise without dependencies, `transformers==4.57.6` and `datasets==3.6.0` among it; with
their dependencies, pip searched for versions that fit for half an hour and found none. See `docs/robustness.md`.

    python benchmarks/peers.py http://127.0.0.1:3000/v1/sentiment PART.jsonl.gz --rows 200

TextAttack reads stop words from `nltk_data/corpora/stopwords/english`; any list of words will do.
"""

import argparse
import gzip
import json
import math
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from textattack import Attack, AttackArgs, Attacker
from textattack.attack_recipes import DeepWordBugGao2018, Pruthi2019
from textattack.attack_results import FailedAttackResult
from textattack.constraints.pre_transformation import MinWordLength
from textattack.datasets import Dataset
from textattack.models.wrappers import ModelWrapper

ITEMS = 64
LABELS = ("negative", "positive")


class ServedModel(ModelWrapper):
    """A sentiment package behind an address."""

    def __init__(self, url: str) -> None:
        self.model = self
        self._url = url

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """The probabilities of the labels, (texts, labels)."""
        return np.array(
            [scores for start in range(0, len(texts), ITEMS) for scores in self._ask(texts[start : start + ITEMS])]
        )

    def _ask(self, texts: Sequence[str]) -> Iterator[list[float]]:
        body = json.dumps({"inputs": list(texts)}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as response:
            for result in json.load(response)["results"]:
                found = {one["label"]: one["score"] for one in result["scores"]}
                yield [found[label] for label in LABELS]


def build_for_long_words(model: ServedModel) -> Attack:
    """DeepWordBug bound to the words that `typos+edges` changes: those of four letters and more."""
    attack = DeepWordBugGao2018.build(model)
    attack.pre_transformation_constraints.append(MinWordLength(4))
    return attack


RECIPES: dict[str, Callable[[ServedModel], object]] = {
    "Pruthi, 1 word": lambda model: Pruthi2019.build(model, max_num_word_swaps=1),
    "DeepWordBug": DeepWordBugGao2018.build,
    "DeepWordBug, words of four letters and more": build_for_long_words,
}


def main() -> None:
    """Print the accuracy before and under each attack, with its standard error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("part")
    parser.add_argument("--rows", type=int, default=200)
    given = parser.parse_args()
    with gzip.open(given.part, "rt", encoding="utf-8") as file:
        records = [json.loads(line) for _, line in zip(range(given.rows), file, strict=False)]
    data = Dataset([(record["text"], int(record["label"])) for record in records])
    for name, build in RECIPES.items():
        options = AttackArgs(num_examples=given.rows, random_seed=0, disable_stdout=True, silent=True)
        results = Attacker(build(ServedModel(given.url)), data, options).attack_dataset()
        held = sum(isinstance(one, FailedAttackResult) for one in results)
        wrong = sum(type(one).__name__ == "SkippedAttackResult" for one in results)
        share = held / len(results)
        error = math.sqrt(share * (1 - share) / len(results))
        sys.stdout.write(f"{name}: {1 - wrong / len(results):.4f} -> {share:.4f} ± {error:.4f}, {len(results)} rows\n")


if __name__ == "__main__":
    main()
