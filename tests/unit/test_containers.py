"""Dockerfile and compose.yaml, read: nothing here builds an image."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "containers/Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "containers/compose.yaml").read_text())


def test_everything_that_is_copied_is_there_and_let_through() -> None:
    listed = (ROOT / "containers/Dockerfile.dockerignore").read_text().splitlines()
    let_through = [line[1:] for line in listed if line.startswith("!")]
    commands = re.findall(r"^COPY --chown=\S+ (.+)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)
    sources = [source.rstrip("/") for command in commands for source in command.split()[:-1]]

    assert len(sources) > 10
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == name or source.startswith(f"{name}/") for name in let_through), source


def test_it_runs_as_nobody_special_and_holds_no_secret() -> None:
    stages = re.findall(r"^(USER|ENTRYPOINT|ENV|ARG) (.+)$", DOCKERFILE, re.MULTILINE)
    users = [value for name, value in stages if name == "USER"]

    assert users
    assert users[-1] not in ("0", "root")
    assert not re.search(r"(?i)(token|password|secret|api_key)", DOCKERFILE)
    for name, service in COMPOSE["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert "environment" not in service, name
        assert "ports" not in service, name  # published ports listen on all addresses unless told otherwise


def test_servers_listen_on_loopback_as_their_commands_do() -> None:
    for name in ("dashboard", "serve"):
        service = COMPOSE["services"][name]
        assert service["network_mode"] == "host"
        assert "--host" not in service["command"]
        assert "0.0.0.0" not in str(service)


def test_every_environment_with_a_torch_or_a_page_is_made() -> None:
    (made,) = re.findall(r'^ARG ENVIRONMENTS="(.+)"$', DOCKERFILE, re.MULTILINE)
    assert set(made.split()) == {"core", "dashboard", "skill", "project"}
