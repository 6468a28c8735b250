"""From checkpoints to packages, and what serving loads of packages.

ONNX Runtime collects usage figures for its maker, under an identifier that it writes into the home folder, unless this
variable is set before it is imported. A server must report to nobody unasked; who wants it sets the variable to 0.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
