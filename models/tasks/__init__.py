"""The tasks Steadfast answers."""

from models.tasks.extractive import EXTRACTIVE_READING
from models.tasks.ner import NER
from models.tasks.nli import NLI
from models.tasks.paraphrase import PARAPHRASE
from models.tasks.reading_comprehension import READING_COMPREHENSION
from models.tasks.sentiment import SENTIMENT
from models.tasks.sts import STS
from models.tasks.task import AnyTask

TASKS: dict[str, AnyTask] = {
    task.name: task for task in (SENTIMENT, NLI, STS, PARAPHRASE, NER, READING_COMPREHENSION, EXTRACTIVE_READING)
}

ENDPOINTS: dict[str, tuple[AnyTask, ...]] = {
    endpoint: tuple(task for task in TASKS.values() if task.endpoint == endpoint)
    for endpoint in dict.fromkeys(task.endpoint for task in TASKS.values())
}
"""The tasks whose packages may answer at an endpoint; they take the same items."""


class UnknownTask(ValueError):
    """No task has that name."""


def check_endpoint(name: str) -> str:
    """The name, if it is one of an endpoint; raises UnknownTask with the names there are."""
    if name not in ENDPOINTS:
        raise UnknownTask(f"no task {name!r}; choose one of: {', '.join(ENDPOINTS)}")
    return name


def find_task(name: str) -> AnyTask:
    """The task called `name`; raises UnknownTask with the names there are."""
    try:
        return TASKS[name]
    except KeyError:
        raise UnknownTask(f"no task {name!r}; choose one of: {', '.join(TASKS)}") from None
