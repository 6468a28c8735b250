"""ONNX Runtime as all modules import it: without the usage figures that it collects for its maker.

ONNX Runtime writes an identifier for them into the home folder as it is imported, and warns where it cannot. A server
must report to nobody unasked; who wants the figures sets the variable to 0.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime  # it reads the variable as it is imported

__all__ = ["onnxruntime"]
