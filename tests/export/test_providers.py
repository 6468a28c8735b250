"""Devices: which graph of a package answers on each."""

from pathlib import Path

import pytest

from export.package import FALLBACK_FILE, Package, Precision, open_package
from export.providers import PROVIDERS, ProviderName, WrongDevice, chosen_providers, fit_to_device, is_made_for

GPUS: list[ProviderName] = [name for name, provider in PROVIDERS.items() if provider.is_gpu]
CPUS: list[ProviderName] = [name for name, provider in PROVIDERS.items() if not provider.is_gpu]


def changed(package: Package, precision: Precision, *, has_fp32: bool = False) -> Package:
    files = {**package.manifest.files, **({FALLBACK_FILE: "0" * 64} if has_fp32 else {})}
    return Package(package.folder, package.manifest.model_copy(update={"precision": precision, "files": files}))


@pytest.fixture(scope="module")
def opened(package: Path) -> Package:
    return open_package(package)


def test_a_session_is_told_to_round_no_products_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [provider.called for provider in PROVIDERS.values()]
    monkeypatch.setattr("export.runtime.onnxruntime.get_available_providers", lambda: names)
    assert chosen_providers("cuda") == [("CUDAExecutionProvider", {"use_tf32": "0"}), ("CPUExecutionProvider", {})]
    assert chosen_providers("cpu") == [("CPUExecutionProvider", {})]


def test_cuda_and_tensorrt_are_the_gpus() -> None:
    assert GPUS == ["cuda", "tensorrt"]


@pytest.mark.parametrize("provider", CPUS)
@pytest.mark.parametrize("precision", ["int8", "fp16", "fp32"])
def test_every_graph_answers_on_a_cpu(opened: Package, provider: ProviderName, precision: Precision) -> None:
    package = changed(opened, precision, has_fp32=True)
    assert fit_to_device(package, provider) is package


@pytest.mark.parametrize("provider", GPUS)
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_graphs_in_floating_point_answer_on_a_gpu(
    opened: Package, provider: ProviderName, precision: Precision
) -> None:
    package = changed(opened, precision, has_fp32=True)
    assert fit_to_device(package, provider) is package


@pytest.mark.parametrize("provider", GPUS)
def test_an_int8_package_answers_on_a_gpu_by_its_fp32_graph(opened: Package, provider: ProviderName) -> None:
    fit = fit_to_device(changed(opened, "int8", has_fp32=True), provider)
    assert (fit.precision, fit.graph.name) == ("fp32", FALLBACK_FILE)
    assert fit_to_device(fit, provider) is fit


@pytest.mark.parametrize("provider", GPUS)
def test_an_int8_graph_alone_is_refused_on_a_gpu_with_what_to_do(opened: Package, provider: ProviderName) -> None:
    with pytest.raises(WrongDevice) as refused:
        fit_to_device(changed(opened, "int8"), provider)
    assert str(refused.value) == (
        f"{opened.folder}: int8 graphs give other answers on a GPU ({provider}) than those that their export checked; "
        "export it again with --precision fp16, or serve it with --provider cpu"
    )


@pytest.mark.parametrize(
    ("precision", "provider", "is_made"),
    [("fp16", "cuda", True), ("fp16", "cpu", False), ("int8", "cpu", True), ("int8", "tensorrt", False)],
)
def test_fp16_is_made_for_gpus(opened: Package, precision: Precision, provider: ProviderName, is_made: bool) -> None:
    assert is_made_for(changed(opened, precision).manifest, provider) is is_made
