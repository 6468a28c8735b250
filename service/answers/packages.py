"""Finds the packages that answer: those named in the settings, or all packages of the zoo.

Where several packages answer at one endpoint, the first is its default.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from export.package import Package, PackageError, is_package, open_package
from export.providers import ProviderName, fit_to_device, is_made_for
from export.requirements import check_requirements
from service.settings import Settings


class NoPackage(PackageError):
    """There is no package for a task, or none at all."""


class TwoPackages(PackageError):
    """Two packages for one task have the same name, so that a request could not say which one it means."""


class NotThePinned(PackageError):
    """A package has another digest than the one that the settings pin."""


def open_packages(settings: Settings) -> tuple[Package, ...]:
    """All packages that the settings name, or that the zoo holds, each checked to the last byte.

    The first package of an endpoint answers requests that name no model. Named packages stand in the order in which
    they are named. In the zoo, the package called like its endpoint comes first, then the others by folder name.

    Of two packages with one name, an fp16 one and another, the one made for the device of `settings.provider` answers.

    Raises:
        PackageError: a package is damaged, not the one pinned, short of what is required or of no use on the device,
            there is no package, or two packages for one endpoint have the same name.
    """
    packages = [open_pinned(folder, settings) for folder in package_folders(settings)]
    if not settings.packages:
        packages.sort(key=lambda package: package.manifest.name != package.task.endpoint)
    by_name: dict[tuple[str, str], list[Package]] = {}
    for package in packages:
        by_name.setdefault((package.task.endpoint, package.manifest.name), []).append(package)
    return tuple(fit_to_device(_choose(rivals, settings.provider), settings.provider) for rivals in by_name.values())


def _choose(rivals: Sequence[Package], provider: ProviderName) -> Package:
    """The one that answers of packages with one name; raises TwoPackages."""
    first, *others = rivals
    if not others:
        return first
    fitting = [rival for rival in rivals if is_made_for(rival, provider)]
    if len(rivals) > 2 or len(fitting) != 1:
        raise TwoPackages(
            f"{first.folder} and {others[0].folder} are both called {first.manifest.name} and answer "
            f"{first.task.endpoint}; name one of them, or export one under another --name"
        )
    return fitting[0]


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
        raise NoPackage(f"{settings.zoo}: holds no packages; name the folder of one made by `steadfast export`")
    return folders


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
