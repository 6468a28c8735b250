"""Settings of the server. The command line wins over `STEADFAST_*` variables, and these over the defaults here."""

import os
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

import service
from export.figures.requirements import BadRequirement, Requirement, read_requirement
from export.providers import PROVIDERS, ProviderName
from models.errors import UserError, first_mistake
from models.machine import available_cores
from service.address import DEFAULT_HOST, DEFAULT_PORT, PREFIX
from service.engine.limits import EngineLimits

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""sha256 in hex."""

_ORIGIN = re.compile(r"\*|https?://[^/\s,*?#@A-Z]+")
"""Where a web page comes from, as browsers write it (RFC 6454), or `*` for any."""

MAX_OCCLUSION_WORDS = 128
"""Most words of an item to explain by occlusion, unless a setting says otherwise."""

MAX_CERTIFY_ROWS = 4_096
"""Most rows to compute for the certificate of an item, unless a setting says otherwise."""

_ENGINE_LIMITS = EngineLimits()

GPU_BATCH_TOKENS = 16_384
"""Tokens in one batch on a GPU. A MiniLM in fp16 answered, on an H200, 330 texts a second one by one, 9,100 in batches
of 32, and 45,000 in batches of 512."""

GPU_THREADS = 2
"""Batches at once on a GPU: one is prepared while another is computed. Rows that wait are shared out among the idle
threads, so more threads make batches smaller."""

GPU_LONG_WORK_THREADS = 4
"""Most threads of a worker that read long texts where a GPU computes. On a CPU one does, and the others compute."""

CACHE_OFF = "off"
"""Stands for no cache, in place of a folder."""


def _default_cache() -> Path | str:
    """The folder `steadfast` where the XDG base directory specification puts caches."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (base if base.is_absolute() else Path.home() / ".cache") / "steadfast"
    except RuntimeError:
        # The user has no home: so it is for numbers of users that a container's system does not know.
        return CACHE_OFF


def usual_batch_tokens(provider: ProviderName) -> int:
    """Tokens in one batch on the device of `provider`, unless a setting says otherwise."""
    return GPU_BATCH_TOKENS if PROVIDERS[provider].is_gpu else _ENGINE_LIMITS.batch_tokens


MOST_WORKERS = 256
MOST_THREADS = 1024
"""Far more than cores; what is beyond would be started all the same, until the memory is full."""


def _usual_threads(provider: ProviderName, workers: int) -> int:
    return GPU_THREADS if PROVIDERS[provider].is_gpu else max(1, available_cores() // workers)


class SettingsError(UserError):
    """A setting that cannot be used."""


class Settings(BaseSettings):
    """Every setting of the server; `STEADFAST_PORT` sets `port`, and so on for each name.

    `group` is the heading that `steadfast serve --help` shows a setting under.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", allow_inf_nan=False)

    packages: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="Model packages to load. In the environment they are separated as in PATH. Without any, all "
        "packages of the zoo are loaded.",
        json_schema_extra={"group": "Models"},
    )
    require: Annotated[tuple[Requirement, ...], NoDecode] = Field(
        default=(),
        description="Refuse packages whose figures fall short or were not measured; several are separated by commas, "
        "such as typos-1>=0.3,sentiment:accuracy>=0.9.",
        json_schema_extra={"group": "Models"},
    )
    zoo: Path = Field(
        default_factory=lambda: Path(service.__file__).parents[1] / "zoo",
        description="Folder that holds the packages used where none is named.",
        json_schema_extra={"group": "Models"},
    )
    host: str = Field(
        default=DEFAULT_HOST,
        description="IP address to listen on. Only this machine reaches 127.0.0.1; 0.0.0.0 is every address it has.",
        json_schema_extra={"group": "Address"},
    )
    port: int = Field(
        default=DEFAULT_PORT, ge=1, le=65_535, description="Port to listen on.", json_schema_extra={"group": "Address"}
    )
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="Keys that callers may send, separated by commas. Without keys here or in a file, everyone who "
        "reaches the server may ask, and it listens on this machine only.",
        json_schema_extra={"group": "Access"},
    )
    api_keys_file: Path | None = Field(
        default=None,
        description="File with keys that callers may send, one a line; a comment starts with `#`. SIGHUP makes the "
        "server read it again. Without keys, the server listens on this machine only.",
        json_schema_extra={"group": "Access"},
    )
    admin_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="Keys for requests that change the server, which reload its models, separated by commas. Without "
        "keys here or in a file, only this machine may make such requests.",
        json_schema_extra={"group": "Access"},
    )
    admin_keys_file: Path | None = Field(
        default=None,
        description="File with such keys, written and read again as the file of other keys is.",
        json_schema_extra={"group": "Access"},
    )
    open_to_all: bool = Field(
        default=False,
        description="Serve without keys even on an address that other machines reach.",
        json_schema_extra={"group": "Access"},
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins of web pages that may ask in a browser, such as https://example.org; several are "
        "separated by commas, and * is any. Without one, no page may.",
        json_schema_extra={"group": "Access"},
    )
    page: bool = Field(
        default=True,
        description="Show a page at `/` on which people try the models in a browser, and the OpenAPI document at "
        "`/docs`.",
        json_schema_extra={"group": "Access"},
    )
    max_items: int = Field(
        default=64, ge=1, description="Most inputs in one request.", json_schema_extra={"group": "Limits"}
    )
    max_body_bytes: int = Field(
        default=2_000_000, ge=1, description="Largest request body, in bytes.", json_schema_extra={"group": "Limits"}
    )
    max_occlusion_words: int = Field(
        default=MAX_OCCLUSION_WORDS,
        ge=1,
        description="Most words of an input to explain by occlusion, which reads the text again without each of them.",
        json_schema_extra={"group": "Limits"},
    )
    max_certify_rows: int = Field(
        default=MAX_CERTIFY_ROWS,
        ge=1,
        description="Most rows to compute for the certificate of an input, which reads the text again with each edit.",
        json_schema_extra={"group": "Limits"},
    )
    max_unknown_share: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Refuse an input of whose tokens a larger share stands for no word that the model knows, instead "
        "of answering it; 1 answers all.",
        json_schema_extra={"group": "Limits"},
    )
    body_timeout_s: float = Field(
        default=20.0,
        gt=0,
        description="Seconds that a request body may take to arrive.",
        json_schema_extra={"group": "Limits"},
    )
    max_connections: int = Field(
        default=1_024,
        ge=1,
        description="Most connections that a worker holds at once. One more takes the place of the connection that has "
        "been idle longest; without any, it is refused with status 503.",
        json_schema_extra={"group": "Limits"},
    )
    max_header_bytes: int = Field(
        default=32_768,
        ge=1_024,
        description="Largest headers of a request with its address, in bytes.",
        json_schema_extra={"group": "Limits"},
    )
    max_header_lines: int = Field(
        default=100, ge=1, description="Most header lines of a request.", json_schema_extra={"group": "Limits"}
    )
    header_timeout_s: float = Field(
        default=10.0,
        gt=0,
        description="Seconds that the headers of a request may take to arrive, and a new connection to send any.",
        json_schema_extra={"group": "Limits"},
    )
    keep_alive_s: float = Field(
        default=75.0,
        gt=0,
        description="Seconds that a connection may wait for its next request, or leave an answer unread.",
        json_schema_extra={"group": "Limits"},
    )
    timeout_ms: int = Field(
        default=60_000,
        ge=1,
        description="Milliseconds that a request may take, unless its header `X-Request-Timeout-Ms` says otherwise.",
        json_schema_extra={"group": "Limits"},
    )
    max_timeout_ms: int = Field(
        default=600_000,
        ge=1,
        description="Most milliseconds that a request may ask for.",
        json_schema_extra={"group": "Limits"},
    )
    drain_s: float = Field(
        default=25.0,
        gt=0,
        description="Seconds that requests under way may take after SIGTERM; what is left then is refused.",
        json_schema_extra={"group": "Limits"},
    )
    tracing: bool = Field(
        default=False,
        description="Send OpenTelemetry spans to the collector that the `OTEL_...` variables name; needs "
        "`pip install -e '.[tracing]'` in a clone.",
        json_schema_extra={"group": "Observability"},
    )
    provider: ProviderName = Field(
        default="cpu",
        description=f"Device that ONNX Runtime computes on: {', '.join(PROVIDERS)}. All but cpu need another build "
        "of ONNX Runtime.",
        json_schema_extra={"group": "Performance"},
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=MOST_WORKERS,
        description="Processes that answer; each loads every model.",
        json_schema_extra={"group": "Performance"},
    )
    threads: int = Field(
        default_factory=lambda known: _usual_threads(known.get("provider", "cpu"), known.get("workers", 1)),
        ge=1,
        le=MOST_THREADS,
        description="Batches that each worker computes at once, over all models together; each takes one core. "
        f"Default: the worker's share of the cores, or {GPU_THREADS} on a GPU.",
        json_schema_extra={"group": "Performance"},
    )
    queued_rows: int = Field(
        default=_ENGINE_LIMITS.queued_rows,
        ge=1,
        description="Rows that may wait for one model and one key; more are refused with status 429.",
        json_schema_extra={"group": "Performance"},
    )
    queued_tokens: int = Field(
        default=_ENGINE_LIMITS.queued_tokens,
        ge=1,
        description="Tokens of these rows; the default is some seconds of work.",
        json_schema_extra={"group": "Performance"},
    )
    batch_tokens: int = Field(
        default_factory=lambda known: usual_batch_tokens(known.get("provider", "cpu")),
        ge=1,
        description="Tokens in one batch, padding included; a longer row is a batch of its own. "
        f"Default: {_ENGINE_LIMITS.batch_tokens}, or {GPU_BATCH_TOKENS} on a GPU.",
        json_schema_extra={"group": "Performance"},
    )
    cache: Path | None = Field(
        default_factory=_default_cache,
        validate_default=True,
        description="Folder of your own in which processes keep packed weights and share them; `off` for none. "
        "Default: `steadfast` in the user's cache folder.",
        json_schema_extra={"group": "Performance"},
    )
    pinned: Annotated[dict[str, Digest], NoDecode] = Field(
        default={},
        description="Refuse a package of this name that has another digest; several are separated by commas.",
        json_schema_extra={"group": "Models"},
    )

    @field_validator("host")
    @classmethod
    def _check_address(cls, value: str) -> str:
        try:
            return str(ip_address(value))
        except ValueError:
            raise ValueError(
                "must be an IP address: 127.0.0.1 for this machine alone, 0.0.0.0 for every address it has"
            ) from None

    @field_validator("cache", mode="before")
    @classmethod
    def _switch_off(cls, value: Any) -> Any:
        if value == "":
            raise ValueError("names no folder; name one, or write off")
        return None if str(value) == CACHE_OFF else value

    @field_validator("packages", mode="before")
    @classmethod
    def _split_path_list(cls, value: Any) -> Any:
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _refuse_contradiction(self) -> Self:
        if self.timeout_ms > self.max_timeout_ms:
            raise ValueError(f"timeout_ms {self.timeout_ms} is more than max_timeout_ms {self.max_timeout_ms}")
        return self

    @field_validator("api_keys", "admin_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: Any) -> Any:
        return [part for part in map(str.strip, value.split(",")) if part] if isinstance(value, str) else value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: Any) -> Any:
        origins = [part for part in map(str.strip, value.split(",")) if part] if isinstance(value, str) else value
        if not all(map(_ORIGIN.fullmatch, origins)):
            raise ValueError(
                "an origin is a scheme, a host in lower case, and a port if it is not the usual one, with nothing "
                "behind them, such as https://example.org; * is any"
            )
        return origins

    @field_validator("require", mode="before")
    @classmethod
    def _split_requirements(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return tuple(read_requirement(part) for part in value.split(",") if part.strip())
        except BadRequirement as error:
            raise ValueError(str(error)) from error

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
    def long_work_threads(self) -> int:
        """Threads of a worker that read long texts and make their answers."""
        if not PROVIDERS[self.provider].is_gpu:
            return 1
        return max(1, min(GPU_LONG_WORK_THREADS, available_cores() // self.workers))

    @property
    def engine_limits(self) -> EngineLimits:
        """The limits of each model's engine."""
        return EngineLimits(
            queued_rows=self.queued_rows, queued_tokens=self.queued_tokens, batch_tokens=self.batch_tokens
        )

    def for_any_folder(self) -> "Settings":
        """The same settings, with paths that hold in whatever folder a process runs."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        paths: dict[str, Any] = {name: value.absolute() for name, value in given.items() if isinstance(value, Path)}
        if self.packages:
            paths["packages"] = tuple(folder.absolute() for folder in self.packages)
        return self.model_copy(update=paths)

    def as_environment(self) -> dict[str, str]:
        """Variables that make another process read the same settings, in whatever folder it starts.

        The keys are left out: a child process inherits them in the environment.
        """
        absolute = self.for_any_folder()
        values = absolute.model_dump(mode="json", exclude={"api_keys", "admin_keys"}, exclude_none=True) | {
            "packages": os.pathsep.join(map(str, absolute.packages)),
            "require": ",".join(map(str, self.require)),
            "cors_origins": ",".join(self.cors_origins),
            "cache": absolute.cache or CACHE_OFF,
            "pinned": ",".join(f"{name}={digest}" for name, digest in self.pinned.items()),
        }
        return {PREFIX + name.upper(): str(value) for name, value in values.items()}


def unknown_variables(environment: Iterable[str]) -> Iterator[str]:
    """A sentence for each variable that looks like one of a setting and is none."""
    for name in sorted(environment):
        setting = name.removeprefix(PREFIX)
        if setting == name or setting.lower() in Settings.model_fields:
            continue
        alike = get_close_matches(setting, [known.upper() for known in Settings.model_fields], n=1)
        cure = f"did you mean {PREFIX}{alike[0]}?" if alike else "steadfast serve --help lists those that do"
        yield f"{name} is no setting of the server; {cure}"


def read_settings(**chosen: Any) -> Settings:
    """The settings in force. A `chosen` value wins over the environment; None leaves the setting as it is.

    Raises:
        SettingsError: names the setting at fault.
    """
    try:
        return Settings(**{name: value for name, value in chosen.items() if value is not None})
    except ValidationError as error:
        mistake = first_mistake(error)
        if not mistake.place:
            raise SettingsError(mistake.reason) from error
        name = mistake.place.partition(".")[0]
        raise SettingsError(f"{name} ({PREFIX}{name.upper()}): {mistake.reason}, got {mistake.given!r}") from error
