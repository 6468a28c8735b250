"""The tasks that Steadfast answers. A new task is a module here and its name in `TASKS`."""

from pathlib import Path

from models.errors import UserError
from models.tasks.extractive import EXTRACTIVE_READING
from models.tasks.masked_words import MASKED_WORDS
from models.tasks.ner import NER
from models.tasks.nli import NLI
from models.tasks.pair_classification import PAIR_CLASSIFICATION
from models.tasks.paraphrase import PARAPHRASE
from models.tasks.reading_comprehension import READING_COMPREHENSION
from models.tasks.sentiment import SENTIMENT
from models.tasks.sts import STS
from models.tasks.task import AnyTask
from models.tasks.text_classification import MULTI_LABEL_CLASSIFICATION, TEXT_CLASSIFICATION

TASKS: dict[str, AnyTask] = {
    task.name: task
    for task in (
        SENTIMENT, NLI, STS, PARAPHRASE, NER, READING_COMPREHENSION, EXTRACTIVE_READING, TEXT_CLASSIFICATION,
        PAIR_CLASSIFICATION, MULTI_LABEL_CLASSIFICATION,
    )
}  # fmt: skip

TRAINED: dict[str, AnyTask] = TASKS | {MASKED_WORDS.name: MASKED_WORDS}
"""All that a model can be trained for: the tasks, and masked words, on which encoders are pre-trained."""

ENDPOINTS: dict[str, tuple[AnyTask, ...]] = {
    endpoint: tuple(task for task in TASKS.values() if task.endpoint == endpoint)
    for endpoint in dict.fromkeys(task.endpoint for task in TASKS.values())
}
"""By endpoint, the tasks whose packages may answer there. They take the same items."""


class UnknownTask(UserError):
    """No task has that name."""


def check_endpoint(name: str) -> str:
    """Return the name if an endpoint has it; raises UnknownTask, which lists the endpoints."""
    if name not in ENDPOINTS:
        if Path(name).is_dir():
            raise UnknownTask(f"{name!r} is a folder; name a task first, and the folder as its package")
        raise UnknownTask(f"no task {name!r}; choose one of: {', '.join(ENDPOINTS)}")
    return name


def find_task(name: str) -> AnyTask:
    """Return the task that is trained under a name; raises UnknownTask, which lists the tasks."""
    try:
        return TRAINED[name]
    except KeyError:
        raise UnknownTask(f"no task {name!r}; choose one of: {', '.join(TASKS)}") from None
