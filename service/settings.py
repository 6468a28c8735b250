"""What can be set when serving: command line over `STEADFAST_*` environment over these defaults."""

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

import service
from export.session import ProviderName
from service.engine import EngineLimits
from service.machine import available_cores

PREFIX = "STEADFAST_"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""sha256 in hex."""


class SettingsError(ValueError):
    """A setting that cannot be used."""


class Settings(BaseSettings):
    """Every setting; `STEADFAST_PORT` sets `port`, and so on."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    packages: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description="Model packages to load, in the environment separated as PATH is; none: all of the zoo."
    )
    zoo: Path = Field(
        default_factory=lambda: Path(service.__file__).parents[1] / "zoo", description="Folder of the default packages."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=3000, ge=1, le=65_535)
    max_items: int = Field(default=64, ge=1, description="Most inputs in one request.")
    max_body_bytes: int = Field(default=2_000_000, ge=1, description="Largest request body.")
    threads: int = Field(
        default_factory=available_cores,
        ge=1,
        description="Batches computed at once, of all models together, each on a core.",
    )
    queued_rows: int = Field(
        default=4_096, ge=1, description="Rows that may wait for one model before it refuses more."
    )
    queued_tokens: int = Field(default=131_072, ge=1, description="The same in tokens; some seconds of work.")
    batch_tokens: int = Field(default=512, ge=1, description="Tokens of one batch, padding included.")
    provider: ProviderName = Field(default="cpu", description="What ONNX Runtime computes with.")
    pinned: Annotated[dict[str, Digest], NoDecode] = Field(
        default={}, description="NAME=DIGEST,...: a package of that name with another digest is refused."
    )

    @field_validator("host")
    @classmethod
    def _check_address(cls, value: str) -> str:
        return str(ip_address(value))

    @field_validator("packages", mode="before")
    @classmethod
    def _split_path_list(cls, value: Any) -> Any:
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    @field_validator("pinned", mode="before")
    @classmethod
    def _split_pins(cls, value: Any) -> Any:
        pins = (
            [part.strip().partition("=") for part in value.split(",") if part.strip()]
            if isinstance(value, str)
            else None
        )
        return value if pins is None else {name.strip(): digest.strip() for name, _, digest in pins}

    @property
    def engine_limits(self) -> EngineLimits:
        """What concerns the engine."""
        return EngineLimits(
            queued_rows=self.queued_rows, queued_tokens=self.queued_tokens, batch_tokens=self.batch_tokens
        )

    def as_environment(self) -> dict[str, str]:
        """Variables that make another process read the same settings, wherever it starts."""
        values = self.model_dump(mode="json") | {
            "packages": os.pathsep.join(str(folder.absolute()) for folder in self.packages),
            "zoo": self.zoo.absolute(),
            "pinned": ",".join(f"{name}={digest}" for name, digest in self.pinned.items()),
        }
        return {PREFIX + name.upper(): str(value) for name, value in values.items()}


def read_settings(**chosen: Any) -> Settings:
    """The settings in force; what is `chosen` wins over the environment, None chooses nothing.

    Raises:
        SettingsError: naming the setting at fault.
    """
    try:
        return Settings(**{name: value for name, value in chosen.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise SettingsError(f"{name} ({PREFIX}{name.upper()}): {first['msg']}, got {first['input']!r}") from error
