"""A hub that cannot be reached is asked once."""

import sys
from collections.abc import Iterator
from typing import Any

import huggingface_hub
import pytest
import requests
from huggingface_hub import get_session
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from models.files.parts import DataError, fetch_part
from models.hub import give_up_at_first_failure


def test_without_the_library_a_name_is_taken_for_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"^nodir: no such folder; data sets of the hub need an extra: run "):
        fetch_part("nodir", "train")


class Network:
    """Stands for the wire below `requests`: fails, or answers, and counts."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_down = True

    def send(self, _: Any, request: requests.PreparedRequest, **__: Any) -> requests.Response:
        self.asked += 1
        if self.is_down:
            raise requests.ConnectionError("no route to host")
        response = requests.Response()
        response.status_code = 404
        response.request = request
        return response


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    network = Network()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", lambda *given, **named: network.send(*given, **named))
    give_up_at_first_failure.__wrapped__()
    yield network
    huggingface_hub.configure_http_backend()


def test_a_hub_that_cannot_be_reached_is_asked_once(network: Network) -> None:
    with pytest.raises(LocalEntryNotFoundError):
        huggingface_hub.hf_hub_download("owner/name", "config.json")
    assert network.asked == 1


def test_a_connection_that_breaks_later_is_an_error_that_the_library_tries_again(network: Network) -> None:
    network.is_down = False
    get_session().get("https://hub.example/first")
    network.is_down = True
    with pytest.raises(requests.ConnectionError):
        get_session().get("https://hub.example/second")


def test_before_the_first_answer_the_error_is_one_that_the_library_takes_for_no_network(network: Network) -> None:
    with pytest.raises(OfflineModeIsEnabled, match="/first cannot be reached"):
        get_session().get("https://hub.example/first")
    assert network.asked == 1
