"""`run.sh dashboard` before a server runs: which workspace, which port, which token, and the checks of a request."""

from __future__ import annotations

import asyncio
import socket
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from security import OwnPagesOnly, refused
from tts_train.errors import Busy, ConfigError, Unavailable, UsageError
from tts_train.work import dashboard
from tts_train.work.dashboard import TOKEN, dashboard_workspace, free_port, server_file, share_token

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _nobody_named_a_workspace(monkeypatch, tmp_path):
    monkeypatch.delenv("TTS_TRAIN_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)


def run_in(folder: Path) -> Path:
    path = folder / "artifacts/tts/hers/run.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    return folder


def test_the_demo_is_shown_where_there_is_nothing_else(monkeypatch, tmp_path):
    repository = tmp_path / "repository"
    demo = run_in(repository / "artifacts/demo")
    monkeypatch.setattr(dashboard, "repository_root", lambda: repository)
    assert dashboard_workspace(None, None).root == demo
    # Whoever names a workspace means it.
    assert dashboard_workspace(str(tmp_path), None).root == tmp_path
    monkeypatch.setenv("TTS_TRAIN_WORKSPACE", str(tmp_path))
    assert dashboard_workspace(None, None).root == tmp_path
    monkeypatch.delenv("TTS_TRAIN_WORKSPACE")
    run_in(tmp_path)
    assert dashboard_workspace(None, None).root == tmp_path


def test_without_a_demo_the_workspace_is_the_one_around(monkeypatch, tmp_path):
    monkeypatch.setattr(dashboard, "repository_root", lambda: tmp_path / "repository")
    assert dashboard_workspace(None, None).root == tmp_path


def test_runs_names_the_folder_of_runs(tmp_path):
    run_in(tmp_path / "studio")
    assert dashboard_workspace(None, str(tmp_path / "studio/artifacts/tts")).root == tmp_path / "studio"
    for other in ("studio", "studio/artifacts/tts/hers", "nowhere/artifacts/tts"):
        with pytest.raises(ConfigError, match="folder of runs"):
            dashboard_workspace(None, str(tmp_path / other))


def test_the_server_is_in_the_repository(monkeypatch, tmp_path):
    assert server_file() == REPOSITORY / "dashboard/server.py"
    monkeypatch.setattr(dashboard, "repository_root", lambda: None)
    with pytest.raises(Unavailable, match="repository"):
        server_file()
    monkeypatch.setattr(dashboard, "repository_root", lambda: tmp_path)
    with pytest.raises(Unavailable, match="repository"):
        server_file()


def test_a_port_is_free_or_busy():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Busy, match=str(taken.getsockname()[1])):
            free_port(taken.getsockname()[1])
    assert free_port(0) > 0


@pytest.mark.parametrize("given", ["short", "fifteen letters", "sixteen letters\n", "sixteen lettérs…"])
def test_a_token_that_is_easily_guessed_is_refused(given):
    with pytest.raises(UsageError) as refusal:
        share_token({TOKEN: given})
    assert given not in refusal.value.message + refusal.value.hint


def test_a_token_is_the_given_one_or_a_new_one(capsys):
    assert share_token({TOKEN: "sixteen letters!"}) == "sixteen letters!"
    assert capsys.readouterr() == ("", "")
    made = share_token({TOKEN: ""})
    assert len(made) >= 32
    assert made != share_token({})
    said = capsys.readouterr()
    assert said.err.count(made) == 1
    assert said.out == ""


def asked(**headers: str | list[str]) -> Headers:
    pairs = [
        (name, value) for name, values in headers.items() for value in ([values] if isinstance(values, str) else values)
    ]
    return Headers(raw=[(name.replace("_", "-").encode(), value.encode()) for name, value in pairs])


@pytest.mark.parametrize(
    "headers",
    [
        asked(host="127.0.0.1:8765"),
        asked(host="localhost", origin="http://localhost", sec_fetch_site="same-origin"),
        asked(host="[::1]:1", origin="http://[::1]:1", sec_fetch_site="none"),
    ],
)
def test_own_requests(headers):
    assert refused(headers) is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (asked(), 400),
        (asked(host=["127.0.0.1", "127.0.0.1"]), 400),
        (asked(host="127.0.0.1:"), 400),
        (asked(host="127.0.0.1\n"), 400),
        (asked(host="127.0.0.10"), 400),
        (asked(host="evil.example:8765"), 400),
        (asked(host="localhost.evil.example"), 400),
        (asked(host="127.0.0.1:8765", origin="http://localhost:8765"), 403),
        (asked(host="127.0.0.1:8765", origin="https://127.0.0.1:8765"), 403),
        (asked(host="127.0.0.1:8765", origin=["http://127.0.0.1:8765", "http://evil.example"]), 403),
        (asked(host="127.0.0.1:8765", origin=""), 403),
        (asked(host="127.0.0.1:8765", sec_fetch_site="cross-site"), 403),
        (asked(host="127.0.0.1:8765", sec_fetch_site=["same-origin", "cross-site"]), 403),
    ],
)
def test_foreign_requests(headers, status):
    answer = refused(headers)
    assert answer is not None
    assert answer.status_code == status


def test_the_token_is_asked_of_requests_of_every_kind():
    """Also of kinds that are not known yet: only the server's own start and end pass without."""
    reached, said = [], []

    async def app(scope, receive, send):
        reached.append(scope["type"])

    async def nothing():
        return {"type": "websocket.connect"}

    async def send(message):
        said.append(message)

    guarded = OwnPagesOnly(app, token="a token of some length")
    for kind in ("lifespan", "http", "websocket"):
        scope = {"type": kind, "headers": [(b"host", b"127.0.0.1")], "query_string": b"", "path": "/", "method": "GET"}
        # A thread of its own: beside browser tests this one has a loop that runs.
        with ThreadPoolExecutor() as pool:
            pool.submit(asyncio.run, guarded(scope, nothing, send)).result()
    assert reached == ["lifespan"]
    assert said[0]["status"] == 401
    assert said[-1] == {"type": "websocket.close", "code": 1008}


def test_the_config_keeps_to_this_machine():
    """For whoever starts Streamlit by hand in that folder."""
    config = tomllib.loads((REPOSITORY / "dashboard/.streamlit/config.toml").read_text())
    assert config["server"]["address"] == "127.0.0.1"
    assert config["browser"]["gatherUsageStats"] is False
    assert config["server"]["fileWatcherType"] == "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_themes_are_readable(scheme):
    """WCAG AA: 4.5 to 1 for text."""
    theme = tomllib.loads((REPOSITORY / "dashboard/.streamlit/config.toml").read_text())["theme"][scheme]
    grounds = (theme["backgroundColor"], theme["secondaryBackgroundColor"])
    told = [(theme[text], ground) for text in ("textColor", "linkColor", "primaryColor") for ground in grounds]
    # main.py: a primary button's text has the colour of the page.
    told.append((theme["backgroundColor"], theme["primaryColor"]))
    assert min(contrast(*pair) for pair in told) >= 4.5
    # The white tick of a box is not text: 3 to 1.
    assert contrast("#ffffff", theme["primaryColor"]) >= 3


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
