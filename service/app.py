"""The service as BentoML finds it: `bentoml serve service.app:Steadfast`.

`steadfast serve` runs the same, and checks settings and packages first. `Steadfast` is built from the environment's
settings when it is first asked for; importing this module builds nothing.
"""

import os
from functools import cache
from typing import Any

# BentoML reports each start unless this is set. Its command reads it before it imports this module: `steadfast serve`
# and bentofile.yaml set it too.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")


@cache
def _build() -> Any:
    from service.server.application import build_service
    from service.settings import read_settings

    return build_service(read_settings())


def __getattr__(name: str) -> Any:
    if name != "Steadfast":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _build()
