"""The `steadfast` command: its entry, which holds what happens to Ctrl-C and to errors.

Nothing of ours, and no library, is imported before Ctrl-C is caught: from the first moment it ends the command with one
line and its own exit code.
A question for a server's health is answered without importing the other commands.
"""

import gc
import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it, and after SIGTERM."""

STOPPED = "stopped; run the same command to begin anew"
"""The line on stderr of a command that was interrupted and keeps nothing."""

STOPPED_EARLY = "stopped before it had begun; run the same command again"
"""The line of any command that was interrupted while its own code was still to be imported."""

_came: list[int] = []
"""The signals that interrupted the command."""


def main() -> None:
    """Run a command. An error that the user can put right becomes one sentence and exit code 2; a bug its traceback."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:
        # A KeyboardInterrupt inside an import may come out as another error; nothing is under way that could be lost.
        signal.signal(signal.SIGINT, _leave)
    if sys.argv[1:2] == ["health"]:
        from service.health import plain_request, report_health

        request = plain_request(sys.argv[1:])
        if request is not None:
            sys.exit(report_health(*request, os.environ))
    is_server = sys.argv[1:2] == ["serve"]
    if is_server:
        # All that is imported stays; the workers switch it on again.
        gc.disable()
        from service.cli.serving.alone import app
    else:
        from service.cli.commands import app

        _interrupt_at_sigterm()
    from service.cli.root import run

    if usual is signal.default_int_handler:
        # A server has handlers of its own, which know the usual one.
        signal.signal(signal.SIGINT, usual if is_server else _interrupt)
    try:
        run(app)
    except KeyboardInterrupt:
        # Outside of every command, as among its options.
        sys.stderr.write(f"{STOPPED_EARLY}\n")
        sys.exit(INTERRUPTED)


def is_interruption(error: BaseException) -> bool:
    """Whether Ctrl-C or SIGTERM made the error: an import may turn KeyboardInterrupt into an error of its own.

    What came up after a command had answered Ctrl-C is none.
    """
    if isinstance(error, KeyboardInterrupt):
        return True
    if isinstance(error, ImportError):
        return bool(_came)
    return error.__cause__ is not None and is_interruption(error.__cause__)


def _interrupt_at_sigterm() -> None:
    """Let what stops containers and jobs do as Ctrl-C does: a command then keeps what it has, and says so."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _came.append(number)
    raise KeyboardInterrupt


def _leave(_signal: int, _frame: FrameType | None) -> None:
    # Not by sys.stderr, which may be in the middle of a line.
    os.write(2, f"{STOPPED_EARLY}\n".encode())
    os._exit(INTERRUPTED)
