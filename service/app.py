"""The service as BentoML finds it: `bentoml serve service.app:Steadfast`.

`steadfast serve` runs the same, and checks settings and packages first. `Steadfast` is built from the environment's
settings when it is first asked for; importing this module builds nothing.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.package import Package
    from service.server.registry import CountedModels
    from service.settings import Settings

# BentoML reports each start unless this is set. Its command reads it before it imports this module: `steadfast serve`
# and bentofile.yaml set it too.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "true")


_begun: "list[CountedModels]" = []
"""The models that `begin` has begun to load, if it was called."""


def begin(settings: "Settings", packages: "Sequence[Package]", worker: int) -> None:
    """Begin to load the models of worker number `worker`, before `Steadfast` is asked for and BentoML is imported.

    `settings` are those of the environment, and `packages` those of the settings, which have just been opened.
    """
    from service.server.registry import CountedModels

    models = CountedModels.of(settings, worker)
    models.registry.start_loading(packages)
    _begun.append(models)


class _AiohttpFinder:
    """Finds aiohttp, which is then loaded when something of it is first used."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find the module, as `sys.meta_path` asks for it."""
        spec = PathFinder.find_spec(name, path, target) if name == "aiohttp" else None
        if spec and spec.loader:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextmanager
def _aiohttp_when_used() -> Iterator[None]:
    """Let no import load aiohttp before something of it is used.

    BentoML imports it for services that stand before a server of another kind, as ours does not. It reads the system's
    certificates as it is loaded, and takes a tenth of the time of all that is imported, and 8 MB.
    """
    # Always a new list: threads that load models may be importing, and walk through the old one.
    sys.meta_path = [_AiohttpFinder, *sys.meta_path]
    try:
        yield
    finally:
        sys.meta_path = [finder for finder in sys.meta_path if finder is not _AiohttpFinder]


@cache
def _build() -> Any:
    with _aiohttp_when_used():
        from service.server.application import build_service
    from service.settings import read_settings

    return build_service(read_settings(), *_begun)


def __getattr__(name: str) -> Any:
    if name != "Steadfast":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _build()
