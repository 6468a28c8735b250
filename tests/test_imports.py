"""Imports point one way: a module may import what stands below it in the list of layers, and its own wing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("models", "export", "service", "steadfast")

LAYERS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("models.*", "models.correction", "models.files", "models.tasks"),),
    (("models.networks",), ("models.synonyms",)),
    (("models.edits",),),
    (("models.attack",), ("models.robust",)),
    (("models.training",),),
    (("models.measuring",),),
    (
        (
            "export.errors",
            "export.external_data",
            "export.figures",
            "export.package",
            "export.preconditions",
            "export.prepacked",
            "export.probes",
            "export.providers",
            "export.runtime",
            "export.session",
        ),
    ),
    (("export.decomposition",),),
    (("export.graphs",), ("export.card", "export.origin")),
    (("export.gates",),),
    (("export.build", "export.changing", "export.correcting", "export.publishing", "export.verification"),),
    (("export.importing",),),
    (("service.address",), ("service.version",), ("service.supervision",), ("service.engine",)),
    (("service.health",),),
    (("service.settings",),),
    (("service.answers",),),
    (("service.outcomes",),),
    (("service.pages",), ("service.watching",)),
    (("service.server",), ("service.files",), ("service.python",)),
    (("service.attacks",), ("service.client",)),
    (("service.measuring",),),
    (("service.app",),),
    (("service.cli",), ("steadfast",)),
)
"""From the ground up. A layer holds wings that do not import each other; a wing is named by its modules and folders.

`models.*` stands for the modules that lie directly in `models/` and are named nowhere else.
"""

FORBIDDEN = {"models.robust": ("models.measuring", "export")}
"""Wings that may not be imported by some of those above them: measuring and exporting need no training method."""


def find_wing(module: str) -> tuple[int, int]:
    """The layer and the wing in it that a module belongs to.

    Raises:
        LookupError: the module belongs to no wing, or to several.
    """
    found = [
        (layer, wing)
        for layer, wings in enumerate(LAYERS)
        for wing, entries in enumerate(wings)
        if any(module == entry or module.startswith(f"{entry}.") for entry in entries)
    ]
    if not found and module.startswith("models.") and module.count(".") == 1:
        found = [(0, 0)]
    if len(found) != 1:
        raise LookupError(f"{module} belongs to {len(found)} wings; give it one place in LAYERS")
    return found[0]


def read_imports(module: str, source: str) -> Iterator[str]:
    """The modules of ours that `source` imports, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            # `from models import robust` imports a module, `from models.robust import METHODS` a name of one.
            names = [f"{origin}.{alias.name}" for alias in node.names] if origin in PACKAGES else [origin]
        else:
            continue
        # The packages themselves hold no code, and `import steadfast` imports nothing else.
        yield from (name for name in names if name.partition(".")[0] in PACKAGES and name not in PACKAGES)


def upward_imports(module: str, source: str) -> list[str]:
    """The imports of a module that break the rule."""
    layer, wing = find_wing(module)
    wrong = []
    for name in read_imports(module, source):
        other_layer, other_wing = find_wing(name)
        is_upward = other_layer > layer or (other_layer == layer and other_wing != wing)
        is_forbidden = any(
            _is_within(name, wanted) and any(_is_within(module, reader) for reader in readers)
            for wanted, readers in FORBIDDEN.items()
        )
        if is_upward or is_forbidden:
            wrong.append(name)
    return wrong


def _is_within(module: str, folder: str) -> bool:
    return module == folder or module.startswith(f"{folder}.")


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    _module_name(path): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    # Of these modules only the one of `steadfast` holds code.
    if path != ROOT / package / "__init__.py" or package == "steadfast"
}


@pytest.mark.parametrize("package", ["models", "export"])
def test_the_packages_themselves_hold_no_code(package: str) -> None:
    assert (ROOT / package / "__init__.py").read_text() == ""


def test_the_entry_of_python_programs_imports_nothing_before_it_is_called() -> None:
    code = "import sys; known = set(sys.modules); import service; print(*sorted(set(sys.modules) - known))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name.partition(".")[0] for name in ran.stdout.split()} - sys.stdlib_module_names == {"service"}
    assert "service.python" not in ran.stdout


def test_every_module_belongs_to_one_wing() -> None:
    for module in MODULES:
        find_wing(module)


def test_every_entry_of_the_layers_names_a_module() -> None:
    entries = {entry for wings in LAYERS for wing in wings for entry in wing} - {"models.*"}
    assert entries <= MODULES.keys()


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    assert upward_imports(module, MODULES[module].read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("models.text", "from models.networks.encoder import Encoder", "models.networks.encoder"),
        ("models.text", "import models.training.loop", "models.training.loop"),
        ("models.tasks.ner", "def encode():\n    from service.settings import Settings", "service.settings"),
        ("models.data", "if TYPE_CHECKING:\n    from export.package import Package", "export.package"),
        ("models.networks.heads", "from models import robust", "models.robust"),
        ("models.networks.heads", "from models.synonyms.wordnet import WordNet", "models.synonyms.wordnet"),
        ("models.measuring.agreement", "from models.robust.asa import AsaSettings", "models.robust.asa"),
        ("export.origin", "from models.robust import METHODS", "models.robust"),
        ("export.gates.parity", "from ..build import export_checkpoint", "export.build"),
        ("service.engine.pool", "from service.server.gateway import Gateway", "service.server.gateway"),
        ("service.files.scoring", "from service.server.metrics import Metrics", "service.server.metrics"),
    ],
)
def test_a_planted_upward_import_is_found(module: str, source: str, found: str) -> None:
    assert upward_imports(module, source) == [found]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("models.robust.asa", "from models.robust.method import Method\nfrom models.text import Row"),
        ("service.cli.score", "from service.files.scoring import score\nimport numpy"),
        ("export.gates.parity", "from export.graphs.finishing import write_graph"),
    ],
)
def test_imports_of_what_stands_below_are_allowed(module: str, source: str) -> None:
    assert upward_imports(module, source) == []


def test_a_module_of_an_unknown_folder_is_found() -> None:
    with pytest.raises(LookupError, match="belongs to 0 wings"):
        find_wing("models.attic.box")
