"""Callbacks by which long work tells how far it is."""

from collections.abc import Callable

ReportProgress = Callable[[str, int, int], None]
"""Called with the name of the work, the number of items done and the number in all; the latter is 0 until known."""

Say = Callable[[str], None]
"""Called with a line for whoever watches the work."""
