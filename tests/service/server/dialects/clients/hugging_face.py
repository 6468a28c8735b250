"""Makes calls of huggingface_hub's clients, read from stdin as (call, positional, keywords), and prints the answers."""

import asyncio
import json
import sys
from dataclasses import asdict, is_dataclass
from typing import Any

from huggingface_hub import AsyncInferenceClient, InferenceClient


def plain(answer: Any) -> Any:
    if isinstance(answer, list):
        return [plain(one) for one in answer]
    return asdict(answer) if is_dataclass(answer) and not isinstance(answer, type) else answer


def url(call: str) -> str:
    return f"{sys.argv[1]}/hf/{call.replace('_', '-')}"


def tell(error: Any) -> dict[str, Any]:
    # The asynchronous client of the older generation raises the error of its HTTP library.
    status = error.response.status_code if hasattr(error, "response") else error.status
    return {"status": status, "message": str(error)}


def ask(call: str, positional: list[Any], keywords: dict[str, Any]) -> Any:
    try:
        return plain(getattr(InferenceClient(model=url(call)), call)(*positional, **keywords))
    except Exception as error:
        return tell(error)


async def ask_in_turn(calls: list[Any]) -> list[Any]:
    answers: list[Any] = []
    for call, positional, keywords in calls:
        try:
            answers.append(plain(await getattr(AsyncInferenceClient(model=url(call)), call)(*positional, **keywords)))
        except Exception as error:
            answers.append(tell(error))
    return answers


asked = json.load(sys.stdin)
json.dump({"sync": [ask(*call) for call in asked], "async": asyncio.run(ask_in_turn(asked))}, sys.stdout)
