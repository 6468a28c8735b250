"""Settings: where they come from, and that another process reads the same."""

import os
from pathlib import Path

import pytest

from service.cli.serving.launch import become_server
from service.cli.serving.serve import GROUPS, setting_options
from service.settings import Settings, SettingsError, read_settings, unknown_variables
from tests.service.conftest import free_port


def test_the_environment_wins_over_defaults_and_the_caller_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADFAST_PORT", "4000")
    assert read_settings().port == 4000
    assert read_settings(port=5000).port == 5000
    assert read_settings(port=None).port == 4000


def test_packages_are_separated_as_paths_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADFAST_PACKAGES", os.pathsep.join(["a", "/b/c", ""]))
    assert read_settings().packages == (Path("a"), Path("/b/c"))


@pytest.mark.parametrize("cache", ["/some/where", "off"])
def test_another_process_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: str) -> None:
    chosen = Settings(
        packages=(tmp_path / "a", tmp_path / "b"),
        port=4000,
        max_items=3,
        host="::1",
        zoo=tmp_path,
        pinned={"a": "0" * 64},
        require="typos-1>=0.5,nli:HANS/accuracy>=0.5",  # type: ignore[arg-type]
        cors_origins="https://example.org, http://localhost:5173",  # type: ignore[arg-type]
        cache=Path(cache),
    )
    for name, value in chosen.as_environment().items():
        monkeypatch.setenv(name, value)
    assert read_settings() == chosen


def test_relative_folders_are_handed_on_absolute() -> None:
    assert Settings(packages=(Path("here"),)).as_environment()["STEADFAST_PACKAGES"] == str(Path("here").absolute())


def test_the_zoo_lies_beside_the_source() -> None:
    assert Settings().zoo == Path(__file__).parents[2] / "zoo"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "0"),
        ("port", "x"),
        ("host", "localhost"),
        ("max_items", "0"),
        ("threads", "0"),
        ("threads", "1000000000000"),
        ("workers", "1000000000000"),
        ("max_body_bytes", "-1"),
        ("cors_origins", "example.org"),
        ("cors_origins", "https://example.org/"),
        ("cors_origins", "https://Example.org"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"STEADFAST_{name.upper()}", value)
    with pytest.raises(SettingsError, match=rf"{name} \(STEADFAST_{name.upper()}\): .*{value!r}"):
        read_settings()


def test_an_address_that_is_a_name_is_refused_with_the_one_to_write() -> None:
    with pytest.raises(SettingsError, match=r"must be an IP address: 127\.0\.0\.1 for this machine alone.*'localhost'"):
        read_settings(host="localhost")


def test_a_variable_that_is_no_setting_is_said_with_the_one_it_is_like() -> None:
    given = ["STEADFAST_PROT", "STEADFAST_QWERTY", "STEADFAST_PORT", "PATH"]
    assert list(unknown_variables(given)) == [
        "STEADFAST_PROT is no setting of the server; did you mean STEADFAST_PORT?",
        "STEADFAST_QWERTY is no setting of the server; steadfast serve --help lists those that do",
    ]


def test_the_server_starts_where_bentoml_tells_nobody(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, str] = {}
    monkeypatch.setattr("os.environ", {**os.environ, "BENTOML_DO_NOT_TRACK": "false"})

    def become(*_: object) -> None:
        started.update(os.environ)
        raise SystemExit

    monkeypatch.setattr("os.execv", become)
    with pytest.raises(SystemExit):
        become_server(Settings(packages=(package,), port=free_port()))
    assert started["BENTOML_DO_NOT_TRACK"] == "true"


DIGEST = "0123456789abcdef" * 4


def test_pins_are_names_and_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADFAST_PINNED", f" one={DIGEST}, two = {DIGEST[::-1]},")
    assert read_settings().pinned == {"one": DIGEST, "two": DIGEST[::-1]}


@pytest.mark.parametrize("pin", ["one", "one=12", f"one={DIGEST.upper()}"])
def test_a_pin_without_a_whole_digest_is_refused(monkeypatch: pytest.MonkeyPatch, pin: str) -> None:
    monkeypatch.setenv("STEADFAST_PINNED", pin)
    with pytest.raises(SettingsError, match=r"pinned \(STEADFAST_PINNED\)"):
        read_settings()


def test_an_unknown_provider_lists_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADFAST_PROVIDER", "tpu")
    with pytest.raises(SettingsError, match="'cpu', 'cuda', 'tensorrt' or 'openvino'"):
        read_settings()


@pytest.mark.parametrize(
    ("provider", "tokens", "threads"),
    [("cpu", 512, 7), ("openvino", 512, 7), ("cuda", 16_384, 2), ("tensorrt", 16_384, 2)],
)
def test_a_gpu_gets_large_batches_on_few_threads(
    monkeypatch: pytest.MonkeyPatch, provider: str, tokens: int, threads: int
) -> None:
    monkeypatch.setattr("service.settings.available_cores", lambda: 14)
    settings = read_settings(provider=provider, workers=2)
    assert (settings.batch_tokens, settings.engine_limits.batch_tokens, settings.threads) == (tokens, tokens, threads)


def test_a_size_of_batches_that_is_set_wins_over_the_device() -> None:
    settings = read_settings(provider="cuda", batch_tokens=100, threads=5)
    assert (settings.batch_tokens, settings.threads) == (100, 5)


def test_a_default_longer_than_the_most_that_may_be_asked_for_is_refused() -> None:
    with pytest.raises(SettingsError, match="timeout_ms 60000 is more than max_timeout_ms 1000"):
        read_settings(max_timeout_ms=1_000)


def test_every_setting_has_a_group_and_a_description() -> None:
    for name, field in Settings.model_fields.items():
        assert isinstance(field.json_schema_extra, dict)
        assert field.json_schema_extra["group"] in GROUPS, name
        assert field.description, name


def test_every_setting_but_packages_and_keys_is_an_option_that_is_none_unless_it_is_given() -> None:
    options = {option.name: option.default for option in setting_options()}
    assert options == dict.fromkeys(set(Settings.model_fields) - {"packages", "api_keys", "admin_keys"})


def test_the_cache_lies_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert read_settings().cache == tmp_path / "steadfast"
    monkeypatch.setenv("HOME", str(tmp_path))
    for none in ("", "not/absolute"):
        monkeypatch.setenv("XDG_CACHE_HOME", none)
        assert read_settings().cache == tmp_path / ".cache" / "steadfast"


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)
    assert read_settings().cache is None


def test_the_cache_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADFAST_CACHE", "off")
    assert read_settings().cache is None
    assert read_settings(cache=Path("here")).cache == Path("here")


def test_a_cache_without_a_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADFAST_CACHE", "")
    with pytest.raises(SettingsError, match=r"cache \(STEADFAST_CACHE\): .*names no folder; name one, or write off"):
        read_settings()


@pytest.mark.parametrize(
    ("provider", "workers", "threads"),
    [("cpu", 1, 1), ("openvino", 1, 1), ("cuda", 1, 4), ("tensorrt", 2, 3), ("cuda", 16, 1)],
)
def test_several_threads_read_long_texts_where_a_gpu_computes(
    monkeypatch: pytest.MonkeyPatch, provider: str, workers: int, threads: int
) -> None:
    monkeypatch.setattr("service.settings.available_cores", lambda: 7)
    assert read_settings(provider=provider, workers=workers).long_work_threads == threads
