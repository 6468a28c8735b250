"""Why a package gives no answer, or no explanation."""

from collections.abc import Sequence

from models.errors import UserError
from service.answers.batch import RejectedItem


class BrokenModel(UserError):
    """The graph computed a value that is not a finite number."""


class NotOffered(UserError):
    """The package cannot give this explanation."""


class CertificateNotOffered(UserError):
    """No certificate for this family of edits can be given here."""


class UnknownTarget(UserError):
    """The answer to be explained is none of those that can be."""


class ItemsRejected(UserError):
    """Some items cannot be answered, and the options ask to answer all of them or none."""

    def __init__(self, rejected: Sequence[RejectedItem]) -> None:
        """The message names the first of the items; `rejected` holds them all."""
        super().__init__(f"input {rejected[0].index + 1}, {rejected[0]}")
        self.rejected = rejected
