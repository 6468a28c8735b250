"""Why a checkpoint does not become a package. Nothing is written when one of these is raised."""

from models.errors import UserError


class ExportError(UserError):
    """An export that cannot be done, or whose result must not be used."""


class TargetTaken(ExportError):
    """Something is where the package should go; packages are never overwritten."""


class BadName(ExportError):
    """A package cannot be called that."""


class NoTwin(ExportError):
    """A package that says nothing about another training of this one."""


class TooLarge(ExportError):
    """More weights than one ONNX file can hold."""


class AnswersNothing(ExportError):
    """A checkpoint that was pre-trained only: it has no task."""


class IncompleteCheckpoint(ExportError):
    """A file is missing, weights are not the model's, or the data are not those it was made with."""


class NotTheSameModel(ExportError):
    """The graph does not compute what the checkpoint computes."""


class TooCostly(ExportError):
    """A precision that loses more of the task's metric than is accepted."""


class NotDeterministic(ExportError):
    """A row's logits depend on the rows beside it or on its padding."""


class NotAnExplanation(ExportError):
    """Attention or rollout is no distribution over the row's real tokens."""
