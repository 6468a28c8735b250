"""The devices that ONNX Runtime computes on, and which graph of a package answers there."""

from dataclasses import dataclass
from typing import Any, Literal

from export.package import Manifest, Package, PackageError
from models.errors import UserError

ProviderName = Literal["cpu", "cuda", "tensorrt", "openvino"]


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A part of ONNX Runtime that computes on one kind of device."""

    called: str
    """The name that ONNX Runtime gives it."""
    distribution: str
    """The pip package of ONNX Runtime that has it. Only one of these packages can be installed."""
    is_gpu: bool = False
    """Whether it computes on a GPU, which needs large batches, and graphs in fp16 or fp32."""
    options: tuple[tuple[str, str], ...] = ()
    """Names and values of those of its options that answers depend on."""


PROVIDERS: dict[ProviderName, Provider] = {
    "cpu": Provider(called="CPUExecutionProvider", distribution="onnxruntime"),
    "cuda": Provider(
        called="CUDAExecutionProvider",
        distribution="onnxruntime-gpu",
        is_gpu=True,
        # By default, products of fp32 matrices are made of numbers with 10 bits in place of 23.
        options=(("use_tf32", "0"),),
    ),
    "tensorrt": Provider(called="TensorrtExecutionProvider", distribution="onnxruntime-gpu", is_gpu=True),
    "openvino": Provider(called="OpenVINOExecutionProvider", distribution="onnxruntime-openvino"),
}


class ProviderMissing(UserError):
    """The ONNX Runtime installed here lacks a provider, or cannot start it."""


class WrongDevice(PackageError):
    """No graph of a package gives on a device the answers that its export checked."""


def find_provider(name: ProviderName) -> str:
    """The name that ONNX Runtime gives a provider.

    Raises:
        ProviderMissing: it is not installed; the message names the pip package that has it.
    """
    provider = PROVIDERS[name]
    if name == "cpu":
        # Every ONNX Runtime computes on the CPU, and importing it takes a tenth of a server's start.
        return provider.called
    from export.runtime import onnxruntime

    offered = onnxruntime.get_available_providers()
    if provider.called not in offered:
        raise ProviderMissing(
            f"the ONNX Runtime installed here has no {provider.called}, only: {', '.join(offered)}; for {name}: "
            f"pip uninstall onnxruntime && pip install {provider.distribution}"
        )
    return provider.called


def chosen_providers(name: ProviderName) -> list[tuple[str, dict[str, Any]]]:
    """The providers of a session with their options: the one wanted, and the CPU for nodes that it has no kernel for.

    Raises:
        ProviderMissing: as `find_provider` does.
    """
    wanted = find_provider(name)
    by_name = {wanted: dict(PROVIDERS[name].options)}
    by_name.setdefault(PROVIDERS["cpu"].called, {})
    return list(by_name.items())


def fit_to_device(package: Package, provider: ProviderName) -> Package:
    """The package as it answers on the device of `provider`: on a GPU by its fp32 graph where the main one is int8.

    Raises:
        WrongDevice: it has only an int8 graph, and the device is a GPU.
    """
    if not PROVIDERS[provider].is_gpu or package.precision != "int8":
        return package
    if package.fallback is None:
        raise WrongDevice(
            f"{package.folder}: int8 graphs give other answers on a GPU ({provider}) than those that their export "
            "checked; export it again with --precision fp16, or serve it with --provider cpu"
        )
    return package.fallback


def is_made_for(manifest: Manifest, provider: ProviderName) -> bool:
    """Whether a package's precision is meant for the kind of device: fp16 for GPUs, the others for CPUs."""
    return (manifest.precision == "fp16") == PROVIDERS[provider].is_gpu
