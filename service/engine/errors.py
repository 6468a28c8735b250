"""Why an engine does not compute rows."""


class Overloaded(RuntimeError):
    """The queue is full."""

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        """When what is waiting now should be done."""


class EngineClosed(RuntimeError):
    """The engine was closed before it took up the rows."""


class DeadlineExceeded(RuntimeError):
    """The deadline passed while rows were waiting."""
