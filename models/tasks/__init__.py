"""The tasks Steadfast answers."""

from models.tasks.ner import NER
from models.tasks.nli import NLI
from models.tasks.paraphrase import PARAPHRASE
from models.tasks.reading_comprehension import READING_COMPREHENSION
from models.tasks.sentiment import SENTIMENT
from models.tasks.sts import STS
from models.tasks.task import AnyTask

TASKS: dict[str, AnyTask] = {task.name: task for task in (SENTIMENT, NLI, STS, PARAPHRASE, NER, READING_COMPREHENSION)}


class UnknownTask(ValueError):
    """No task has that name."""


def find_task(name: str) -> AnyTask:
    """The task called `name`; raises UnknownTask with the names there are."""
    try:
        return TASKS[name]
    except KeyError:
        raise UnknownTask(f"no task {name!r}; choose one of: {', '.join(TASKS)}") from None
