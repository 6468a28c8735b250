"""ONNX Runtime's usage figures, which nothing here collects unasked."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("arguments", [("-c", "import export.session"), ("-m", "service.cli", "doctor")])
def test_onnx_runtime_keeps_no_identity_of_the_machine(arguments: tuple[str, ...]) -> None:
    # Where telemetry is on, ONNX Runtime warns that it could not write an identifier into this home folder.
    unset = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"HOME": "/proc/nowhere", "STEADFAST_CACHE": "off"}
    command = [sys.executable, *arguments]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert finished.stderr == ""
