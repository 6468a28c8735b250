"""Which packages answer: those named, or all of the zoo; one for each task."""

from collections.abc import Iterable
from pathlib import Path

from export.package import Package, PackageError, is_package, open_package
from service.settings import Settings


class NoPackage(PackageError):
    """No package answers a task."""


class TwoPackages(PackageError):
    """Several packages answer one task, and nothing says which is meant."""


def open_packages(settings: Settings) -> dict[str, Package]:
    """Every package in force by the endpoint it answers at, each checked to the last byte.

    Raises:
        PackageError: a package is damaged, there is none, or two answer at one endpoint.
    """
    packages: dict[str, Package] = {}
    for folder in package_folders(settings):
        package = open_package(folder)
        endpoint = package.task.endpoint
        if endpoint in packages:
            raise TwoPackages(f"{packages[endpoint].folder} and {folder} both answer {endpoint}; name one of them")
        packages[endpoint] = package
    return packages


def package_folders(settings: Settings) -> tuple[Path, ...]:
    """Where the packages in force are; raises NoPackage where there are none."""
    folders = settings.packages or tuple(_zoo_packages(settings.zoo))
    if not folders:
        raise NoPackage(f"{settings.zoo}: holds no packages; name the folder of one made by `steadfast export`")
    return folders


def open_package_for(endpoint: str, settings: Settings) -> Package:
    """The package that answers at `endpoint`; raises as `open_packages` does."""
    packages = open_packages(settings)
    if endpoint not in packages:
        raise NoPackage(f"no package answers {endpoint}; there are packages for: {', '.join(packages)}")
    return packages[endpoint]


def _zoo_packages(zoo: Path) -> Iterable[Path]:
    # A package that is being made lies in a folder whose name starts with a dot.
    return (folder for folder in sorted(zoo.glob("[!.]*")) if is_package(folder))
