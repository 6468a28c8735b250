"""The tasks Steadfast answers."""

from models.errors import UserError
from models.tasks.extractive import EXTRACTIVE_READING
from models.tasks.masked_words import MASKED_WORDS
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

TRAINED: dict[str, AnyTask] = TASKS | {MASKED_WORDS.name: MASKED_WORDS}
"""What a model can be trained for: the tasks, and what encoders are pre-trained on, which is not served."""

ENDPOINTS: dict[str, tuple[AnyTask, ...]] = {
    endpoint: tuple(task for task in TASKS.values() if task.endpoint == endpoint)
    for endpoint in dict.fromkeys(task.endpoint for task in TASKS.values())
}
"""The tasks whose packages may answer at an endpoint; they take the same items."""


class UnknownTask(UserError):
    """No task has that name."""


def check_endpoint(name: str) -> str:
    """The name, if it is one of an endpoint; raises UnknownTask with the names there are."""
    if name not in ENDPOINTS:
        raise UnknownTask(f"no task {name!r}; choose one of: {', '.join(ENDPOINTS)}")
    return name


def find_task(name: str) -> AnyTask:
    """What is trained under that name; raises UnknownTask with the names of the tasks there are."""
    try:
        return TRAINED[name]
    except KeyError:
        raise UnknownTask(f"no task {name!r}; choose one of: {', '.join(TASKS)}") from None
