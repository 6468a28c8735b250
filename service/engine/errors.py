"""The errors an engine raises, or hands to those who wait for rows."""


class Overloaded(RuntimeError):
    """The queue is full, or what waits in it takes too long."""

    def __init__(self, detail: str, retry_after_s: int) -> None:
        """Keep when to try again."""
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        """Seconds until enough of what waits now should be done."""


class DeadlineUnreachable(RuntimeError):
    """The rows could not be done before their deadline even if nothing else waited."""


class EngineClosed(RuntimeError):
    """The engine was closed before a thread took up the rows."""


class DeadlineExceeded(RuntimeError):
    """The deadline passed while the rows were waiting."""


def ordinary(error: BaseException) -> Exception:
    """The error itself, or a RuntimeError in place of one that would end the program of whoever waits (SystemExit)."""
    if isinstance(error, Exception):
        return error
    return RuntimeError(f"an engine thread was interrupted by {type(error).__name__}")
