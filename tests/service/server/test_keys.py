"""Keys: whom they admit, how they are read, and that no message quotes one."""

from pathlib import Path

import pytest

from service.server.keys import Access, BadKeys, KeyRing, read_access
from service.server.logs import configure_logs
from service.server.problems import Problem
from service.settings import Settings, SettingsError

FIRST, SECOND = "first-Key_1.~+/", "second=="


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# ours\n{FIRST}\n\n  {SECOND}  # theirs\n")
    return path


@pytest.mark.parametrize("value", [f"Bearer {FIRST}", f"bearer {FIRST}", f"BEARER   {FIRST} ", f"Bearer {SECOND}"])
def test_each_of_the_keys_opens(value: str) -> None:
    assert KeyRing([FIRST, SECOND]).identify([value.encode()])


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
    assert KeyRing([FIRST, SECOND]).identify(values) is None


def test_without_keys_everybody_passes() -> None:
    assert KeyRing([]).identify([]) == ""


def test_a_file_holds_a_key_a_line_beside_those_given(file: Path) -> None:
    keys = KeyRing(["third"], file)
    assert all(keys.identify([f"Bearer {key}".encode()]) for key in (FIRST, SECOND, "third"))
    assert keys.identify([b"Bearer ours"]) is None


def test_a_file_is_read_again_when_told(file: Path) -> None:
    keys = KeyRing([], file)
    file.write_text("new\n")
    assert keys.identify([f"Bearer {FIRST}".encode()])
    keys.reload()
    assert keys.identify([b"Bearer new"])
    assert keys.identify([f"Bearer {FIRST}".encode()]) is None


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
    assert keys.identify([f"Bearer {FIRST}".encode()])
    assert "keys_not_read" in capsys.readouterr().err


def test_a_key_that_no_header_can_hold_is_named_by_its_number_only() -> None:
    with pytest.raises(BadKeys, match="key 2 is not made of") as caught:
        KeyRing([FIRST, "with space"])
    assert "space" not in str(caught.value)


def test_settings_never_show_a_key(file: Path) -> None:
    values = {"api_keys": f"{FIRST}, {SECOND},", "api_keys_file": file, "admin_keys": FIRST, "admin_keys_file": file}
    settings = Settings.model_validate(values)
    assert [key.get_secret_value() for key in settings.api_keys] == [FIRST, SECOND]
    shown = repr(settings) + str(settings.as_environment())
    assert FIRST not in shown
    for name in ("API", "ADMIN"):
        assert settings.as_environment()[f"STEADFAST_{name}_KEYS_FILE"] == str(file)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1"])
def test_only_this_machine_reaches_a_server_without_keys(host: str) -> None:
    assert not read_access(Settings(host=host)).keys


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1"])
def test_an_address_that_others_reach_takes_keys_or_a_word(host: str) -> None:
    with pytest.raises(SettingsError, match="STEADFAST_OPEN_TO_ALL=true"):
        read_access(Settings(host=host))
    assert not read_access(Settings(host=host, open_to_all=True)).keys
    assert read_access(Settings.model_validate({"host": host, "api_keys": "a"})).keys


def admits(access: Access, key: str | None, *, is_local: bool = True, **headers: str) -> bool:
    """Whether a change of the server is admitted."""
    sent = {**headers, **({"authorization": f"Bearer {key}"} if key else {})}
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()]
    try:
        access.check(pairs, is_local=is_local, changes=True)
    except Problem as problem:
        return problem.code != "unauthorized"
    return True


@pytest.mark.parametrize("keys", [[], [FIRST]])
def test_a_change_takes_an_admin_key_where_there_are_any(keys: list[str]) -> None:
    access = Access(KeyRing(keys), KeyRing([SECOND]), is_open=True)
    assert admits(access, SECOND, is_local=False)
    assert [admits(access, key) for key in (FIRST, "x", None)] == [False, False, False]


def test_an_admin_key_is_for_changes_only() -> None:
    access = Access(KeyRing([FIRST]), KeyRing([SECOND]), is_open=False)
    access.check([(b"authorization", f"Bearer {FIRST}".encode())], is_local=False, changes=False)
    with pytest.raises(Problem):
        access.check([(b"authorization", f"Bearer {SECOND}".encode())], is_local=True, changes=False)


@pytest.mark.parametrize("keys", [[], [FIRST]])
def test_without_admin_keys_this_machine_alone_makes_changes(keys: list[str]) -> None:
    access = Access(KeyRing(keys), KeyRing([]), is_open=True)
    key = keys[0] if keys else None
    assert admits(access, key)
    assert not admits(access, key, is_local=False)
    assert not admits(access, key, x_forwarded_for="192.0.2.7")
    assert not admits(access, key, origin="https://example.org")
    assert admits(access, None) == (not keys)


def test_files_of_both_kinds_of_keys_are_read_again(file: Path, tmp_path: Path) -> None:
    admin_file = tmp_path / "admin"
    admin_file.write_text("old\n")
    access = read_access(Settings(api_keys_file=file, admin_keys_file=admin_file))
    admin_file.write_text("new\n")
    file.write_text("caller\n")
    access.reload()
    assert [admits(access, key) for key in ("old", "new", "caller")] == [False, True, False]
    assert access.keys.identify([b"Bearer caller"])


def test_a_key_of_callers_is_no_admin_key(file: Path) -> None:
    named = {"api_keys": FIRST, "admin_keys_file": file}
    file.write_text(f"other\n{FIRST}\n")
    with pytest.raises(
        BadKeys, match=r"a key is both a caller's .* and an admin's .*: .* make another key for admins"
    ) as caught:
        read_access(Settings.model_validate(named))
    assert FIRST not in str(caught.value)
    file.write_text("other\n")
    assert read_access(Settings.model_validate(named)).admin_keys


def test_keys_stay_as_they_are_where_a_file_would_put_one_into_both(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs()
    admin_file = tmp_path / "admin"
    admin_file.write_text("admin\n")
    access = read_access(Settings(api_keys_file=file, admin_keys_file=admin_file))
    file.write_text("admin\n")
    before = access.keys.digests, access.admin_keys.digests
    access.reload()
    assert (access.keys.digests, access.admin_keys.digests) == before
    assert "keys_not_read" in capsys.readouterr().err
