"""Finds the packages that answer: those named in the settings, or all packages of the zoo.

Where several packages answer at one endpoint, the first is its default.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from export.figures.requirements import check_requirements
from export.package import Manifest, Package, PackageError, is_package, open_package, read_manifest
from export.providers import ProviderName, fit_to_device, is_made_for
from models.machine import available_cores
from models.tasks import find_task
from service.settings import Settings


class NoPackage(PackageError):
    """There is no package for a task, or none at all."""


class TwoPackages(PackageError):
    """Two packages for one task have the same name, so that a request could not say which one it means."""


class NotThePinned(PackageError):
    """A package has another digest than the one that the settings pin."""


def open_packages(settings: Settings) -> tuple[Package, ...]:
    """The packages that answer, of those that the settings name or that the zoo holds, each checked to the last byte.

    The first package of an endpoint answers requests that name no model. Named packages stand in the order in which
    they are named. In the zoo, the package called like its endpoint comes first, then the others by folder name.

    Of two packages with one name, an fp16 one and another, the one made for the device of `settings.provider` answers.
    Of the other one only the manifest is read.

    Raises:
        PackageError: a package is damaged, not the one pinned, short of what is required or of no use on the device,
            there is no package, or two packages for one endpoint have the same name.
    """
    found = [(folder, read_manifest(folder)) for folder in package_folders(settings)]
    if not settings.packages:
        found.sort(key=lambda one: one[1].name != find_task(one[1].task).endpoint)
    replaced = find_replaced(found, settings.provider)
    answering: dict[tuple[str, str], Path] = {}
    for folder, manifest in found:
        if folder in replaced:
            continue
        endpoint, name = key = _address(manifest)
        if key in answering:
            raise TwoPackages(
                f"{answering[key]} and {folder} are both called {name} and answer {endpoint}; serve one of them, or "
                "export one under another --name"
            )
        answering[key] = folder
    # Most of the time goes into digests, and they let other threads run.
    with ThreadPoolExecutor(available_cores()) as threads:
        opened = threads.map(partial(open_pinned, settings=settings), answering.values())
        return tuple(fit_to_device(package, settings.provider) for package in opened)


def find_replaced(found: Iterable[tuple[Path, Manifest]], provider: ProviderName) -> dict[Path, Path]:
    """The folders whose package does not answer on the device of `provider`, each with the one that does in its place.

    That is, of two packages with one name, the one made for another kind of device.
    """
    by_name: dict[tuple[str, str], list[tuple[Path, Manifest]]] = {}
    for folder, manifest in found:
        by_name.setdefault(_address(manifest), []).append((folder, manifest))
    replaced: dict[Path, Path] = {}
    for rivals in by_name.values():
        fitting, others = ([f for f, one in rivals if is_made_for(one, provider) is fits] for fits in (True, False))
        if len(fitting) == len(others) == 1:
            replaced[others[0]] = fitting[0]
    return replaced


def _address(manifest: Manifest) -> tuple[str, str]:
    """The endpoint and the name by which a request means a package."""
    return find_task(manifest.task).endpoint, manifest.name


def open_pinned(folder: Path, settings: Settings) -> Package:
    """The package in `folder`, checked to the last byte.

    Raises:
        PackageError: it is damaged, the settings pin another digest under its name, or it falls short of what they
            require.
    """
    package = open_package(folder)
    name, digest = package.manifest.name, package.manifest.digest
    pinned = settings.pinned.get(name, digest)
    if digest != pinned:
        raise NotThePinned(
            f"{folder}: {name} has the digest {digest}, but {pinned} is pinned; serve that one, or pin this"
        )
    check_requirements(package.manifest, settings.require, origin=str(folder))
    return package


def package_folders(settings: Settings) -> tuple[Path, ...]:
    """The folders of the packages that the settings name, or that the zoo holds; raises NoPackage if there is none."""
    folders = settings.packages or tuple(_zoo_packages(settings.zoo))
    if not folders:
        raise NoPackage(_say_where_looked(settings))
    return folders


def _say_where_looked(settings: Settings) -> str:
    """One sentence for a machine without packages: the places in their order, and the cure."""
    zoo = settings.zoo
    found = "holds no packages" if zoo.is_dir() else "is no folder" if zoo.exists() else "does not exist"
    looked = (
        f"{zoo}, which STEADFAST_ZOO or --zoo names, {found}"
        if "zoo" in settings.model_fields_set
        else f"neither the command nor STEADFAST_PACKAGES names one, STEADFAST_ZOO is not set, and {zoo} {found}"
    )
    return (
        f"there are no packages: {looked}; name the folder of one made by `steadfast export`, or set STEADFAST_ZOO to "
        "a folder that holds some, such as zoo in a clone of Steadfast"
    )


def open_package_for(endpoint: str, settings: Settings) -> Package:
    """The package that answers at `endpoint` when a request names no model; raises as `open_packages` does."""
    packages = open_packages(settings)
    for package in packages:
        if package.task.endpoint == endpoint:
            return package
    endpoints = dict.fromkeys(package.task.endpoint for package in packages)
    raise NoPackage(f"no package answers {endpoint}; there are packages for: {', '.join(endpoints)}")


def _zoo_packages(zoo: Path) -> Iterable[Path]:
    # While a package is being made, the name of its folder starts with a dot.
    return (folder for folder in sorted(zoo.glob("[!.]*")) if is_package(folder))
