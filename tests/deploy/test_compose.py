"""The compose file: what it says, and that every file that it mounts is there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from service.settings import Settings
from service.supervision import STOPPING_S
from tests.deploy.test_containerfile import TARGETS

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose.yaml"


def _with_defaults(text: str) -> str:
    """The file as compose reads it where no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def _services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(_with_defaults(COMPOSE.read_text()))["services"]
    return services


def test_what_is_no_compose_file_is_found() -> None:
    with pytest.raises(ValueError, match="prots"):
        PyCompose.from_yaml("services: {a: {image: b, prots: []}}")


def test_compose_gives_the_server_longer_than_it_takes_to_stop() -> None:
    server = _services()["steadfast"]
    grace_s = float(server["stop_grace_period"].removesuffix("s"))
    assert grace_s > Settings.model_fields["drain_s"].default + STOPPING_S


def test_compose_is_a_compose_file_and_every_file_that_it_mounts_is_there() -> None:
    PyCompose.from_yaml(_with_defaults(COMPOSE.read_text()))
    services = _services()
    assert set(services) == {"steadfast", "prometheus", "grafana"}
    for service in services.values():
        for volume in service.get("volumes", []):
            source, _, _ = volume.partition(":")
            assert not source.startswith("./") or (COMPOSE.parent / source).is_file(), source
        assert service["cap_drop"] == ["ALL"]
        # Nobody but this machine reaches what stands open.
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_compose_builds_a_target_and_sets_settings_that_exist() -> None:
    server = _services()["steadfast"]
    assert server["build"]["target"] in TARGETS
    assert server["read_only"] is True
    assert {name.removeprefix("STEADFAST_").lower() for name in server["environment"]} <= Settings.model_fields.keys()


def test_grafana_finds_its_source_and_its_dashboard() -> None:
    monitoring = COMPOSE.parent / "monitoring"
    (source,) = yaml.safe_load((monitoring / "grafana" / "source.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((monitoring / "grafana" / "dashboards.yaml").read_text())["providers"]
    mounted = _services()["grafana"]["volumes"]
    assert any(volume.split(":")[1].startswith(provider["options"]["path"] + "/") for volume in mounted)
    assert json.loads((monitoring / "dashboard.json").read_text())["uid"] == "steadfast"
