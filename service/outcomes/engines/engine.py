"""The places where outcomes can be computed, as who wants them sees them: records in, outcomes out, in order."""

from collections.abc import Callable, Iterable, Iterator

from models.errors import UserError
from service.outcomes.answering import Failure
from service.outcomes.outcome import Outcome
from service.outcomes.records import Values


class EngineStopped(UserError):
    """Machines that cannot be reached or give no core, or a run on them that cannot go on."""


Engine = Callable[[Iterable[Values | Failure]], Iterator[Outcome]]
"""Takes records one by one, a bounded number ahead, and gives the outcome of each in their order."""
