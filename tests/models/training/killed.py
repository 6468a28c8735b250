"""A training that ends with SIGKILL, in a process of its own."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from models.training.settings import TrainingSettings


def train_until_killed(settings: TrainingSettings, out: Path, step: int) -> None:
    """Train into `out` until the process is killed, right after `step`."""
    program = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from models.training.settings import TrainingSettings
        from models.training.loop import train
        from models.training.run import Watcher
        settings = TrainingSettings.model_validate_json({settings.model_dump_json()!r})
        def advance(step, steps, seen):
            if step == {step}:
                os.kill(os.getpid(), signal.SIGKILL)
        train(settings, Path({str(out)!r}), Watcher(say=print, advance=advance))
        """
    )
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists()
