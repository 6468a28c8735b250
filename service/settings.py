"""What can be set when serving: command line over `STEADFAST_*` environment over these defaults."""

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

import service
from export.session import ProviderName
from models.errors import UserError
from service.engine.limits import EngineLimits
from service.machine import available_cores

PREFIX = "STEADFAST_"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""sha256 in hex."""


class SettingsError(UserError):
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
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="Keys that callers send, separated by commas; none, and no file: open, on loopback only.",
    )
    api_keys_file: Path | None = Field(
        default=None, description="More keys, one a line, `#` before a comment; read again at SIGHUP."
    )
    open_to_all: bool = Field(default=False, description="Serve without keys on an address that others reach.")
    max_items: int = Field(default=64, ge=1, description="Most inputs in one request.")
    max_body_bytes: int = Field(default=2_000_000, ge=1, description="Largest request body.")
    body_timeout_s: float = Field(default=20.0, gt=0, description="How long a body may take to come in.")
    timeout_ms: int = Field(
        default=60_000, ge=1, description="How long a request may take that does not say so by `X-Request-Timeout-Ms`."
    )
    max_timeout_ms: int = Field(default=600_000, ge=1, description="The most that a request may ask for.")
    drain_s: float = Field(
        default=25.0, gt=0, description="How long what is under way may take after SIGTERM, before it is refused."
    )
    tracing: bool = Field(
        default=False,
        description="Send spans for OpenTelemetry to where the OTEL_ variables say; see service/server/tracing.py.",
    )
    workers: int = Field(default=1, ge=1, description="Processes that answer; each loads every model.")
    threads: int = Field(
        default_factory=lambda known: max(1, available_cores() // known.get("workers", 1)),
        ge=1,
        description="Batches that each worker computes at once, of all models together, each on one core; default: its "
        "share of the cores.",
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

    @model_validator(mode="after")
    def _refuse_contradiction(self) -> Self:
        if self.timeout_ms > self.max_timeout_ms:
            raise ValueError(f"timeout_ms {self.timeout_ms} is more than max_timeout_ms {self.max_timeout_ms}")
        return self

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: Any) -> Any:
        return [part for part in map(str.strip, value.split(",")) if part] if isinstance(value, str) else value

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
        """Variables that make another process read the same settings, wherever it starts.

        But for the keys, which stay where they are: a child inherits them.
        """
        values = self.model_dump(mode="json", exclude={"api_keys"}, exclude_none=True) | {
            "packages": os.pathsep.join(str(folder.absolute()) for folder in self.packages),
            "zoo": self.zoo.absolute(),
            "pinned": ",".join(f"{name}={digest}" for name, digest in self.pinned.items()),
        }
        if self.api_keys_file:
            values["api_keys_file"] = self.api_keys_file.absolute()
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
        if not first["loc"]:
            raise SettingsError(first["msg"]) from error
        name = str(first["loc"][0])
        raise SettingsError(f"{name} ({PREFIX}{name.upper()}): {first['msg']}, got {first['input']!r}") from error
