"""The tasks Steadfast answers."""

from models.tasks.sentiment import SENTIMENT
from models.tasks.task import AnyTask

TASKS: dict[str, AnyTask] = {task.name: task for task in (SENTIMENT,)}


class UnknownTask(ValueError):
    """No task has that name."""


def find_task(name: str) -> AnyTask:
    """The task called `name`; raises UnknownTask with the names there are."""
    try:
        return TASKS[name]
    except KeyError:
        raise UnknownTask(f"no task {name!r}; choose one of: {', '.join(TASKS)}") from None
