"""The dialects of HTTP that the server speaks beside its own. A new one is a module here and its name in `DIALECTS`."""

from collections.abc import Callable

from service.server.dialects import embeddings_inference, hugging_face, inference_v2
from service.server.dialects.answering import Answering
from service.server.dialects.dialect import Dialect, Dialects
from service.server.metrics import Metrics
from service.server.registry import ModelRegistry
from service.settings import Settings

DIALECTS: tuple[Callable[[Answering], Dialect], ...] = (
    hugging_face.build,
    embeddings_inference.build,
    inference_v2.build,
)
"""The makers of the dialects."""

DOCUMENTS = (hugging_face.DOCUMENT, embeddings_inference.DOCUMENT, inference_v2.DOCUMENT)
"""The dialects as the OpenAPI document shows them."""


def build_dialects(registry: ModelRegistry, metrics: Metrics, settings: Settings) -> Dialects:
    """Every dialect, for a server with these models."""
    answering = Answering(registry, metrics, settings)
    return Dialects(build(answering) for build in DIALECTS)
