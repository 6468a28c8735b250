"""Which packages answer."""

import re
from pathlib import Path

import pytest

from export.figures.requirements import FallsShort
from export.package import read_manifest
from export.providers import ProviderName, WrongDevice
from service.answers.packages import NoPackage, NotThePinned, TwoPackages, open_package_for, open_packages
from service.settings import Settings
from tests.service.tiny import build_package, reseal


def names(settings: Settings) -> list[str]:
    return [package.manifest.name for package in open_packages(settings)]


def test_the_zoos_packages_are_all_opened(package: Path) -> None:
    assert names(Settings(zoo=package.parent)) == ["tiny"]


def test_a_package_that_is_being_made_is_not_of_the_zoo(tmp_path: Path) -> None:
    made = build_package(tmp_path / "made")
    build_package(tmp_path / ".making-made")
    assert [package.folder for package in open_packages(Settings(zoo=tmp_path))] == [made]


def test_packages_that_are_named_win_over_the_zoo(package: Path, tmp_path: Path) -> None:
    other = build_package(tmp_path / "other", name="other")
    assert open_package_for("sentiment", Settings(zoo=package.parent, packages=(other,))).manifest.name == "other"


def test_an_empty_zoo_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        NoPackage, match="holds no packages; name the folder of one made by `steadfast export`, or set "
    ):
        open_packages(Settings(zoo=tmp_path))


def test_without_any_place_for_packages_all_are_told_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.__file__", str(tmp_path / "service" / "__init__.py"))
    said = (
        f"there are no packages: neither the command nor STEADFAST_PACKAGES names one, STEADFAST_ZOO is not set, and "
        f"{tmp_path}/zoo does not exist; "
    )
    with pytest.raises(NoPackage, match=re.escape(said)):
        open_packages(Settings())


def test_of_packages_that_are_named_the_first_is_the_default(tmp_path: Path) -> None:
    one, two = build_package(tmp_path / "1", name="sentiment"), build_package(tmp_path / "2", name="better")
    assert names(Settings(packages=(two, one))) == ["better", "sentiment"]
    assert open_package_for("sentiment", Settings(packages=(two, one))).manifest.name == "better"


def test_of_the_zoo_the_package_called_like_its_task_is_the_default(tmp_path: Path) -> None:
    for folder, name in (("a", "better"), ("b", "sentiment"), ("c", "worse")):
        build_package(tmp_path / folder, name=name)
    assert names(Settings(zoo=tmp_path)) == ["sentiment", "better", "worse"]


def test_a_task_without_a_package_lists_those_with_one(package: Path) -> None:
    with pytest.raises(NoPackage, match="no package answers nli; there are packages for: sentiment"):
        open_package_for("nli", Settings(packages=(package,)))


def test_two_packages_of_one_name_are_refused(package: Path, tmp_path: Path) -> None:
    other = build_package(tmp_path / "other")
    with pytest.raises(TwoPackages, match="are both called tiny and answer sentiment; serve one of them"):
        open_packages(Settings(packages=(package, other)))


@pytest.mark.parametrize(("provider", "chosen"), [("cpu", "plain"), ("cuda", "half"), ("tensorrt", "half")])
@pytest.mark.parametrize("first", ["plain", "half"])
def test_of_two_packages_of_one_name_the_one_made_for_the_device_answers(
    tmp_path: Path, provider: ProviderName, chosen: str, first: str
) -> None:
    folders = {name: build_package(tmp_path / name) for name in sorted(("plain", "half"), key=first.__ne__)}
    reseal(folders["half"], precision="fp16")
    reseal(folders["plain"], precision="int8")
    opened = open_packages(Settings(packages=tuple(folders.values()), provider=provider))
    assert [package.folder for package in opened] == [folders[chosen]]


@pytest.mark.parametrize(("provider", "chosen"), [("cpu", "plain"), ("cuda", "half")])
def test_of_two_packages_of_one_name_only_the_one_that_answers_is_judged(
    tmp_path: Path, provider: ProviderName, chosen: str
) -> None:
    folders = {name: build_package(tmp_path / name) for name in ("plain", "half")}
    for name, folder in folders.items():
        reseal(
            folder,
            precision="fp16" if name == "half" else "fp32",
            metrics={"test": {"accuracy": 0.9 if name == chosen else 0.1}},
            labels=["negative", "positive"] if name == chosen else ["negative", "negative"],
        )
    with (folders["half" if chosen == "plain" else "plain"] / "model.onnx").open("ab") as graph:
        graph.write(b"another byte")
    pinned = {"tiny": read_manifest(folders[chosen]).digest}
    settings = Settings(
        packages=tuple(folders.values()),
        provider=provider,
        pinned=pinned,
        require="accuracy>=0.9",  # type: ignore[arg-type]
    )
    assert [package.folder for package in open_packages(settings)] == [folders[chosen]]
    with pytest.raises(NotThePinned):
        open_packages(settings.model_copy(update={"pinned": {"tiny": "0" * 64}}))


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_two_packages_of_one_name_for_one_device_are_refused_on_any(tmp_path: Path, provider: ProviderName) -> None:
    folders = tuple(build_package(tmp_path / name) for name in "12")
    reseal(folders[0], precision="int8")
    with pytest.raises(TwoPackages):
        open_packages(Settings(packages=folders, provider=provider))


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
@pytest.mark.parametrize("half", [0, 1, 2])
def test_three_packages_of_one_name_are_refused_in_any_order(tmp_path: Path, provider: ProviderName, half: int) -> None:
    folders = tuple(build_package(tmp_path / name) for name in "123")
    for number, folder in enumerate(folders):
        reseal(folder, precision="fp16" if number == half else "int8")
    with pytest.raises(TwoPackages):
        open_packages(Settings(packages=folders, provider=provider))


def test_an_int8_package_is_not_opened_for_a_gpu(tmp_path: Path) -> None:
    package = build_package(tmp_path / "one")
    reseal(package, precision="int8")
    with pytest.raises(WrongDevice, match="int8 graphs give other answers on a GPU"):
        open_package_for("sentiment", Settings(packages=(package,), provider="cuda"))


def test_the_package_that_is_pinned_is_opened(package: Path) -> None:
    digest = open_packages(Settings(packages=(package,)))[0].manifest.digest
    assert names(Settings(packages=(package,), pinned={"tiny": digest, "another": "0" * 64})) == ["tiny"]


def test_a_package_that_falls_short_of_what_is_required_is_refused(package: Path) -> None:
    assert names(Settings(packages=(package,), require="accuracy>=0.9,nli:typos-1>=0.5")) == ["tiny"]  # type: ignore[arg-type]
    with pytest.raises(FallsShort, match="typos-1 was not measured"):
        open_packages(Settings(packages=(package,), require="typos-1>=0.5"))  # type: ignore[arg-type]


def test_another_than_the_one_pinned_is_refused_with_both_digests(package: Path) -> None:
    digest = open_packages(Settings(packages=(package,)))[0].manifest.digest
    with pytest.raises(NotThePinned, match=f"tiny has the digest {digest}, but {'0' * 64} is pinned"):
        open_packages(Settings(packages=(package,), pinned={"tiny": "0" * 64}))
