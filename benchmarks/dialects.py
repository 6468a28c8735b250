"""`python -m benchmarks.dialects`: other protocols beside our own, in CPU time of the server and in equal scores.

Each protocol asks for the same texts, one a request, in turn with our own, so that drift of the machine's speed falls
on both sides of a ratio. Scores are compared for 200 inputs of each task of the zoo, without a tolerance.
"""

import asyncio
import statistics
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import rich

from benchmarks.serving import CONCURRENCY, Server, serving, take_turns
from benchmarks.texts import make_texts

ROWS = 200
"""Inputs of each task whose scores are compared."""
TEXTS = 512
"""Texts of a round in which CPU time is measured."""
ROUNDS = 5
MOST = 1.10
"""Most CPU time of a request in another protocol, as a multiple of our own's."""
AT_ONCE = 50
"""Inputs of a request of ours in which scores are compared."""


class Protocol(NamedTuple):
    """One protocol's way to ask for the sentiment of a text."""

    path: str
    ask: Callable[[str], dict[str, Any]]


NATIVE = Protocol("/v1/sentiment", lambda text: {"inputs": [text]})
OTHERS = {
    "Hugging Face": Protocol("/hf/text-classification", lambda text: {"inputs": text, "parameters": {}}),
    "TEI": Protocol("/tei/predict", lambda text: {"inputs": text}),
    "Open Inference Protocol": Protocol("/v2/models/sentiment/infer", lambda text: {"inputs": [_tensor("text", text)]}),
}


def report(zoo: Path) -> Iterator[str]:
    """The lines to print."""
    packages = [zoo / task for task in ("sentiment", "nli", "sts", "paraphrase", "ner")]
    texts = make_texts(max(TEXTS, ROWS + 1))
    with serving(packages) as server:
        yield from _equalities(server, texts)
        for protocol in (NATIVE, *OTHERS.values()):
            _cpu_seconds(server, protocol, texts[:64])
        measured = take_turns(
            {
                name: lambda protocol=protocol: _cpu_seconds(server, protocol, texts[:TEXTS])  # type: ignore[misc]
                for name, protocol in {"our own": NATIVE, **OTHERS}.items()
            },
            rounds=ROUNDS,
        )
    yield f"CPU time of a request for one text of zoo/sentiment (medians of {ROUNDS} rounds in turn; at most {MOST:g})"
    for name, rounds in measured.items():
        ratio = statistics.median(mine / ours for mine, ours in zip(rounds, measured["our own"], strict=True))
        verdict = "" if name == "our own" else "  met" if ratio <= MOST else "  missed"
        yield f"  {name:<26}{statistics.median(rounds) * 1000:7.2f} ms  x {ratio:.3f}{verdict}"


def _cpu_seconds(server: Server, protocol: Protocol, texts: Sequence[str]) -> float:
    before = server.cpu_seconds()
    asyncio.run(_load(server, protocol, texts))
    return (server.cpu_seconds() - before) / len(texts)


async def _load(server: Server, protocol: Protocol, texts: Sequence[str]) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:

        async def work(share: Sequence[str]) -> None:
            for text in share:
                (await client.post(protocol.path, json=protocol.ask(text))).raise_for_status()

        await asyncio.gather(*(work(texts[number :: CONCURRENCY[1]]) for number in range(CONCURRENCY[1])))


def _equalities(server: Server, texts: Sequence[str]) -> Iterator[str]:
    """One line for each protocol and task: the number of inputs with equal scores."""
    pairs = list(pairwise(texts[: ROWS + 1]))
    with httpx.Client(base_url=server.url, timeout=120) as client:

        def ask(path: str, body: dict[str, Any]) -> Any:
            return client.post(path, json=body).raise_for_status().json()

        def natively(task: str, items: Sequence[Any]) -> list[dict[str, Any]]:
            parts = [items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE)]
            return [result for part in parts for result in ask(f"/v1/{task}", {"inputs": part})["results"]]

        labels = [_labels(result) for result in natively("sentiment", texts[:ROWS])]
        entailed = [_labels(one) for one in natively("nli", [{"premise": a, "hypothesis": b} for a, b in pairs])]
        likeness = [one["normalized"] for one in natively("sts", [{"text_a": a, "text_b": b} for a, b in pairs])]
        same = [_labels(one) for one in natively("paraphrase", [{"text_a": a, "text_b": b} for a, b in pairs])]
        entities = [[one["score"] for one in result["entities"]] for result in natively("ner", texts[:ROWS])]
        found: dict[str, tuple[list[Any], list[Any]]] = {
            "hf text-classification": (
                labels,
                [_flat(ask("/hf/text-classification", {"inputs": a})[0]) for a, _ in pairs],
            ),
            "hf token-classification": (
                entities,
                [[one["score"] for one in ask("/hf/token-classification", {"inputs": a})] for a, _ in pairs],
            ),
            "hf sentence-similarity": (
                likeness,
                [
                    ask("/hf/sentence-similarity", {"inputs": {"source_sentence": a, "sentences": [b]}})[0]
                    for a, b in pairs
                ],
            ),
            "hf zero-shot-classification": (
                [one["entailment"] / (one["entailment"] + one["contradiction"]) for one in entailed],
                [_choose(ask, a, b) for a, b in pairs],
            ),
            "tei predict": (labels, [_flat(ask("/tei/predict", {"inputs": a})) for a, _ in pairs]),
            "tei predict, pairs": (entailed, [_flat(ask("/tei/predict", {"inputs": [a, b]})) for a, b in pairs]),
            "tei rerank": (likeness, [ask("/tei/rerank", {"query": a, "texts": [b]})[0]["score"] for a, b in pairs]),
            "v2 sentiment": (
                [max(one.values()) for one in labels],
                [_score(ask, "sentiment", text=a) for a, _ in pairs],
            ),
            "v2 nli": (
                [max(one.values()) for one in entailed],
                [_score(ask, "nli", premise=a, hypothesis=b) for a, b in pairs],
            ),
            "v2 paraphrase": (
                [max(one.values()) for one in same],
                [_score(ask, "paraphrase", text_a=a, text_b=b) for a, b in pairs],
            ),
        }
    for name, (expected, given) in found.items():
        equal = sum(one == other for one, other in zip(expected, given, strict=True))
        yield f"  {name:<28}{equal} of {len(expected)} equal"


def _labels(result: dict[str, Any]) -> dict[str, float]:
    return _flat(result["scores"])


def _flat(entries: list[dict[str, Any]]) -> dict[str, float]:
    return {entry["label"]: entry["score"] for entry in entries}


def _choose(ask: Callable[..., Any], text: str, label: str) -> float:
    parameters = {"candidate_labels": [label], "hypothesis_template": "{}", "multi_label": True}
    body = {"inputs": text, "parameters": parameters}
    return float(ask("/hf/zero-shot-classification", body)[0]["score"])


def _tensor(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "shape": [1], "datatype": "BYTES", "data": [text]}


def _score(ask: Callable[..., Any], model: str, **texts: str) -> float:
    body = {"inputs": [_tensor(name, text) for name, text in texts.items()], "outputs": [{"name": "score"}]}
    return float(ask(f"/v2/models/{model}/infer", body)["outputs"][0]["data"][0])


if __name__ == "__main__":
    for line in report(Path(__file__).parents[1] / "zoo"):
        rich.get_console().print(line, soft_wrap=True)
