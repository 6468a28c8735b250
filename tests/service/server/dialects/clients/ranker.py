"""Lets Haystack's ranker order texts, read from stdin as (query, texts), and prints them with their scores."""

import asyncio
import json
import sys
from typing import Any

from haystack import Document
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker


def plain(answer: dict[str, Any]) -> list[Any]:
    return [(document.content, document.score) for document in answer["documents"]]


query, texts = json.load(sys.stdin)
ranker = HuggingFaceTEIRanker(url=f"{sys.argv[1]}/tei")
documents = [Document(content=text) for text in texts]
try:
    answers = [plain(ranker.run(query, documents)), plain(asyncio.run(ranker.run_async(query, documents)))]
    json.dump({"answers": answers}, sys.stdout)
except RuntimeError as error:
    json.dump({"error": str(error)}, sys.stdout)
