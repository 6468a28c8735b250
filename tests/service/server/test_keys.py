"""Keys: whom they admit, how they are read, and that no message quotes one."""

from pathlib import Path

import pytest

from service.server.keys import BadKeys, KeyRing, key_ring
from service.server.logs import configure_logs
from service.settings import Settings, SettingsError

FIRST, SECOND = "first-Key_1.~+/", "second=="


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# ours\n{FIRST}\n\n  {SECOND}  # theirs\n")
    return path


@pytest.mark.parametrize("value", [f"Bearer {FIRST}", f"bearer {FIRST}", f"BEARER   {FIRST} ", f"Bearer {SECOND}"])
def test_each_of_the_keys_opens(value: str) -> None:
    assert KeyRing([FIRST, SECOND]).admits([value.encode()])


@pytest.mark.parametrize(
    "values",
    [
        [],
        [b""],
        [b"Bearer"],
        [b"Bearer "],
        [FIRST.encode()],
        [f"Basic {FIRST}".encode()],
        [f"Bearer {FIRST}x".encode()],
        [f"Bearer {FIRST[:-1]}".encode()],
        [f"Bearer {FIRST} {SECOND}".encode()],
        [b"Bearer \xff\xfe"],
        [f"Bearer {FIRST}".encode(), b"Bearer x"],
    ],
)
def test_anything_else_does_not(values: list[bytes]) -> None:
    assert not KeyRing([FIRST, SECOND]).admits(values)


def test_without_keys_everybody_passes() -> None:
    assert KeyRing([]).admits([])


def test_a_file_holds_a_key_a_line_beside_those_given(file: Path) -> None:
    keys = KeyRing(["third"], file)
    assert all(keys.admits([f"Bearer {key}".encode()]) for key in (FIRST, SECOND, "third"))
    assert not keys.admits([b"Bearer ours"])


def test_a_file_is_read_again_when_told(file: Path) -> None:
    keys = KeyRing([], file)
    file.write_text("new\n")
    assert keys.admits([f"Bearer {FIRST}".encode()])
    keys.reload()
    assert keys.admits([b"Bearer new"])
    assert not keys.admits([f"Bearer {FIRST}".encode()])


@pytest.mark.parametrize("content", ["", "# none\n", "two words\n", None])
def test_a_file_that_cannot_be_used_leaves_the_keys_as_they_are(
    file: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs()
    keys = KeyRing([], file)
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    keys.reload()
    assert keys.admits([f"Bearer {FIRST}".encode()])
    assert "keys_not_read" in capsys.readouterr().err


def test_a_key_that_no_header_can_hold_is_named_by_its_number_only() -> None:
    with pytest.raises(BadKeys, match="key 2 is not made of") as caught:
        KeyRing([FIRST, "with space"])
    assert "space" not in str(caught.value)


def test_settings_never_show_a_key(file: Path) -> None:
    settings = Settings.model_validate({"api_keys": f"{FIRST}, {SECOND},", "api_keys_file": file})
    assert [key.get_secret_value() for key in settings.api_keys] == [FIRST, SECOND]
    shown = repr(settings) + str(settings.as_environment())
    assert FIRST not in shown
    assert settings.as_environment()["STEADFAST_API_KEYS_FILE"] == str(file)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1"])
def test_only_this_machine_reaches_a_server_without_keys(host: str) -> None:
    assert not key_ring(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1"])
def test_an_address_that_others_reach_takes_keys_or_a_word(host: str) -> None:
    with pytest.raises(SettingsError, match="STEADFAST_OPEN_TO_ALL=true"):
        key_ring(Settings(host=host))
    assert not key_ring(Settings(host=host, open_to_all=True))
    assert key_ring(Settings.model_validate({"host": host, "api_keys": "a"}))
