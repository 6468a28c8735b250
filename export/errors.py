"""Reasons why a checkpoint does not become a package. When one of these is raised, nothing has been written."""

from models.errors import UserError


class ExportError(UserError):
    """An export is not possible, or its result must not be used."""


class PackageExists(ExportError):
    """The place of the package is taken; packages are never overwritten."""


class BadName(ExportError):
    """A package cannot be called that."""


class NoTwin(ExportError):
    """A package cannot be a twin: its task or data differ, or its training method does not."""


class AlreadyAPackage(ExportError):
    """A package was named where a model is wanted that can be trained or exported."""


class NothingMeasured(ExportError):
    """There are no figures that a package could state."""


class CannotCorrect(ExportError):
    """A package that no correction can be added to."""


class OtherData(ExportError):
    """The data are not those that the package was made with."""


class CannotBlind(ExportError):
    """A package that cannot be made blind to terms of identity."""


class OnlyPretrained(ExportError):
    """The checkpoint was only pre-trained, so it has no task to answer."""


class IncompleteCheckpoint(ExportError):
    """A file is missing, or the data are not those that the checkpoint was trained on."""


class NotTheSameModel(ExportError):
    """The graph does not compute what the checkpoint computes."""


class TooCostly(ExportError):
    """The precision loses more of the task's metric than is accepted."""


class NotDeterministic(ExportError):
    """A row's logits depend on the rows beside it or on its padding."""


class NotAnExplanation(ExportError):
    """Attention or rollout is not a distribution over the row's real tokens."""
