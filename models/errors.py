"""The root of every error that the user can put right."""


class UserError(ValueError):
    """Says in one sentence what was wrong, what is accepted and what to do; the command line shows no traceback.

    An error of any other class is a bug, unless the operating system raised it.
    """
