"""A hand-written server: FastAPI and ONNX Runtime, as many processes as cores; started by uvicorn."""

import os
from pathlib import Path

from bare import BareModel, as_scores
from fastapi import FastAPI
from pydantic import BaseModel

MODEL = BareModel(Path(os.environ["PACKAGE"]))
app = FastAPI()


class Request(BaseModel):
    """The texts of a request."""

    inputs: list[str]


@app.get("/readyz")
def readyz() -> str:
    """Answers when the model is loaded."""
    return "ready"


@app.post("/v1/sentiment")
def answer(request: Request) -> dict[str, list[dict[str, float]]]:
    """The scores of each text, all computed as one batch."""
    rows = [MODEL.encode(text) for text in request.inputs]
    return {"results": [as_scores(MODEL.labels, found) for found in MODEL.probabilities(rows)]}
