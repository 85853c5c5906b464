"""The server: whom it answers, what it serves, and that nothing leaves 127.0.0.1."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import uvicorn
from playwright.sync_api import expect
from starlette.applications import Starlette
from starlette.middleware import Middleware
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import clips
from playable_run import make_playable
from security import OwnPagesOnly
from tts_train.workspace import Workspace

SCRIPT = Path(__file__).parents[2] / ".agent/skills/tts-train/scripts/dashboard.py"
SOUND = bytes(range(256)) * 16


def ask(url: str, path: str = "/", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a GET whose path and headers are sent as they are given."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
    for name, value in {"Host": urlsplit(url).netloc, **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    told = {name.lower(): value for name, value in answer.getheaders()}
    body = answer.read()
    connection.close()
    return answer.status, told, body


@pytest.fixture(scope="module")
def empty(dashboards, tmp_path_factory):
    return dashboards(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="module")
def shared(dashboards, tmp_path_factory):
    return dashboards(tmp_path_factory.mktemp("shared"), "--share", TTS_TRAIN_SHARE_TOKEN="")


@pytest.fixture(scope="module")
def playable(dashboards, tmp_path_factory):
    place = tmp_path_factory.mktemp("playable")
    for number, name in enumerate(("demo-constant", "newest")):
        run = make_playable(Workspace(place), name, epochs=3)
        for file in ("run.json", "status.json"):
            os.utime(run.path / file, (1e9 + number, 1e9 + number))
    return dashboards(place)


@pytest.fixture
def own(tmp_path) -> Iterator[tuple[str, Path]]:
    """The clip route behind the same checks, with a file that a page has registered."""
    path = tmp_path / "epoch-003.wav"
    path.write_bytes(SOUND)
    app = Starlette(routes=[clips.route], middleware=[Middleware(OwnPagesOnly)])
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        running = threading.Thread(target=server.run, args=([listening],))
        running.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", path
        server.should_exit = True
        running.join(20)


FOREIGN = {
    "host": {"Host": "evil.example"},
    "host with a name of ours in front": {"Host": "127.0.0.1.evil.example"},
    "host with a user": {"Host": "127.0.0.1@evil.example"},
    "no host": {"Host": ""},
    "origin": {"Origin": "http://evil.example"},
    "origin without a name": {"Origin": "null"},
    "origin of another port": {"Origin": "http://127.0.0.1:1"},
    "site": {"Sec_Fetch_Site": "cross-site"},
    "neighbour": {"Sec_Fetch_Site": "same-site"},
}
PAGES = ("/", "/runs", "/_stcore/health", "/_stcore/host-config", "/clips/" + 32 * "0")


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("who", FOREIGN)
def test_a_foreign_page_is_refused_everywhere(empty, path, who):
    status, headers, body = ask(empty.url, path, **FOREIGN[who])
    assert status in (400, 403), body
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_own_pages_are_answered_by_every_name_of_this_machine(empty, host, site):
    # Another port than the server's: `ssh -L 9999:127.0.0.1:8765` offers it there.
    status, headers, _ = ask(empty.url, "/", Host=f"{host}:9999", Origin=f"http://{host}:9999", Sec_Fetch_Site=site)
    assert status == 200
    assert f"connect-src 'self' ws://{host}:9999" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    for name in ("cross-origin-opener-policy", "cross-origin-resource-policy"):
        assert headers[name] == "same-origin"


def test_the_websocket_is_for_own_pages(empty):
    address = urlsplit(empty.url).netloc

    def shake(origin: str | None = None, **headers: str) -> int:
        try:
            with connect(
                f"ws://{address}/_stcore/stream",
                origin=origin,
                subprotocols=["streamlit"],
                additional_headers=headers,
                proxy=None,
            ):
                return 101
        except InvalidStatus as refusal:
            return refusal.response.status_code

    assert shake(empty.url) == 101
    assert shake("http://evil.example") == 403
    assert shake(empty.url, **{"Sec-Fetch-Site": "cross-site"}) == 403
    with socket.create_connection(("127.0.0.1", urlsplit(empty.url).port), 20) as raw:
        lines = ["GET /_stcore/stream HTTP/1.1", "Host: evil.example", "Connection: Upgrade", "Upgrade: websocket"]
        lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
        raw.sendall("\r\n".join(lines).encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    "path",
    [
        "/clips/" + 32 * "0",
        "/clips/../main.py",
        "/clips/..%2fmain.py",
        "/clips/%2e%2e/%2e%2e/etc/passwd",
        "/clips//etc/passwd",
        "/clips/..\\main.py",
        "/../../../../etc/passwd",
        "/static/../../../../etc/passwd",
        "/app/static/main.py",
        "/media/../main.py",
        "/component/tts_train_player/../../../../etc/passwd",
    ],
)
def test_no_path_leads_out(empty, path):
    status, _, body = ask(empty.url, path)
    assert b"root:" not in body
    assert b"import streamlit" not in body
    # An address that is nobody's is Streamlit's own page, which then says so.
    assert status in (400, 403, 404) or b"<title>Streamlit</title>" in body
    assert status != 200 or not path.startswith("/clips/")


def test_a_registered_clip_is_served_in_ranges_and_only_it(own):
    url, path = own
    address = clips.register(path)
    assert re.fullmatch(r"/clips/[0-9a-f]{32}", address)
    assert clips.register(path) == address
    status, headers, body = ask(url, address)
    assert (status, body, headers["content-type"]) == (200, SOUND, "audio/wav")
    assert "epoch" not in str(headers)
    assert "2000" in headers["last-modified"]
    status, headers, body = ask(url, address, Range="bytes=100-199")
    assert (status, body, headers["content-range"]) == (206, SOUND[100:200], f"bytes 100-199/{len(SOUND)}")
    assert ask(url, address, Range="bytes=99999-")[0] == 416
    assert ask(url, address, Origin="http://evil.example")[0] == 403
    assert ask(url, address, Sec_Fetch_Site="cross-site")[0] == 403
    beside = path.with_name("epoch-004.wav")
    beside.write_bytes(SOUND)
    assert ask(url, address[:-1] + ("0" if address[-1] != "0" else "1"))[0] == 404
    assert ask(url, f"{address}/../epoch-004.wav")[0] == 404
    assert ask(url, f"/clips/{beside}")[0] == 404


def test_a_clip_that_was_replaced_is_no_longer_at_its_address(own):
    url, path = own
    address = clips.register(path)
    path.write_bytes(SOUND[::-1])
    os.utime(path, ns=(1, 1))
    assert ask(url, address)[0] == 404
    assert clips.register(path) != address
    assert ask(url, clips.register(path))[2] == SOUND[::-1]


def test_only_sound_and_pictures_are_registered(tmp_path):
    (tmp_path / "key.json").write_text("{}")
    with pytest.raises(ValueError, match=r"key\.json"):
        clips.register(tmp_path / "key.json")
    with pytest.raises(FileNotFoundError):
        clips.register(tmp_path / "gone.wav")


def test_it_listens_on_this_machine_only(empty):
    server = psutil.Process(empty.pid).children()[0]
    assert [at.laddr.ip for at in server.net_connections("inet") if at.status == psutil.CONN_LISTEN] == ["127.0.0.1"]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_an_empty_workspace_says_how_to_fill_it(empty, visit, width, scheme):
    """`visit` also holds the page to 127.0.0.1 and to a console without errors."""
    page = visit(empty.url, width=width, scheme=scheme).page
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
    expect(page.get_by_text("./run.sh demo")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("name", ["", "listen", "runs", "verdicts"])
def test_every_page_opens_quietly(playable, visit, name):
    watched = visit(f"{playable.url}/{name}")
    titles = watched.page.get_by_role("navigation").get_by_role("link").or_(watched.page.get_by_test_id("stTopNavLink"))
    expect(titles).to_have_count(4)
    expect(watched.page.get_by_test_id("stException")).to_have_count(0)
    assert any("/_stcore/stream" in url for url in watched.requests)


def test_the_run_and_the_listener_go_along_from_page_to_page(playable, visit):
    page = visit(playable.url).page
    expect(page.get_by_role("combobox", name="Run")).to_have_value("newest")
    page.get_by_label("Listener").fill("Ann")
    page.get_by_label("Listener").press("Enter")
    page.get_by_role("combobox", name="Run").click()
    page.get_by_role("option", name="demo-constant").click()
    expect(page).to_have_url(re.compile(r"run=demo-constant"))
    # The address changes before the server knows: who leaves the page in that moment finds the old run again.
    page.locator(".ttp[data-ready*='demo-constant']").wait_for()
    for name in ("Verdicts", "Review"):
        page.get_by_test_id("stTopNavLink").filter(has_text=name).click()
        expect(page.get_by_test_id("stTopNavLink").filter(has_text=name)).to_have_attribute("aria-current", "page")
    expect(page.get_by_label("Listener")).to_have_value("Ann")
    expect(page.get_by_role("combobox", name="Run")).to_have_value("demo-constant")
    page.reload()
    expect(page.get_by_label("Listener")).to_have_value("Ann")
    expect(page.get_by_role("combobox", name="Run")).to_have_value("demo-constant")


def test_clips_of_the_review_page_are_opaque(playable, visit):
    watched = visit(playable.url)
    with watched.page.expect_request(lambda request: "/clips/" in request.url) as asked:
        pass
    path = urlsplit(asked.value.url).path
    assert re.fullmatch(r"/clips/[0-9a-f]{32}", path)
    assert ask(playable.url, path, Range="bytes=0-3")[0::2] == (206, b"RIFF")
    assert ask(playable.url, path, Host="evil.example")[0] == 400
    assert ask(playable.url, path, Sec_Fetch_Site="cross-site")[0] == 403


def test_a_shared_dashboard_asks_for_its_token(shared, visit):
    said = re.findall(r"token of this dashboard, shown only here: (\S+)", shared.said())
    assert len(said) == 1
    token = said[0]
    for path in ("/", "/_stcore/health", "/clips/" + 32 * "0", "/?token=" + token[:-1]):
        status, _, body = ask(shared.url, path)
        assert status == 401
        assert token.encode() not in body
    status, headers, _ = ask(shared.url, f"/runs?run=demo&token={token}")
    assert (status, headers["location"]) == (303, "/runs?run=demo")
    cookie = headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
    assert token not in cookie
    assert ask(shared.url, "/", Cookie=cookie.split(";")[0])[0] == 200
    assert ask(shared.url, "/", Authorization=f"Bearer {token}")[0] == 200
    assert ask(shared.url, f"/?token={token}", Host="evil.example")[0] == 400
    assert ask(shared.url, f"//evil.example/?token={token}")[1]["location"] == "/evil.example/"
    with pytest.raises(InvalidStatus), connect(shared.url.replace("http", "ws") + "/_stcore/stream", proxy=None):
        pass
    everyone = [psutil.Process(shared.pid), *psutil.Process(shared.pid).children(recursive=True)]
    assert not [process for process in everyone if token in " ".join(process.cmdline())]
    watched = visit(shared.url)
    watched.allowed = ("401",)
    watched.page.get_by_label("Token").fill(token)
    watched.page.get_by_role("button", name="Open").click()
    expect(watched.page.get_by_role("heading", name="No runs yet")).to_be_visible()
    assert token not in watched.page.url


def start(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", SCRIPT, *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_taken_port_is_told(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = start("--port", str(taken.getsockname()[1]), "--workspace", str(tmp_path))
    assert ended.returncode == 75
    assert '"kind": "busy"' in ended.stdout


def test_a_short_token_is_refused(tmp_path):
    ended = start("--port", "0", "--share", "--workspace", str(tmp_path), TTS_TRAIN_SHARE_TOKEN="secret")
    assert ended.returncode == 2
    assert "secret" not in ended.stdout + ended.stderr


def test_a_hostile_home_changes_nothing_and_a_signal_ends_all(dashboards, tmp_path):
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit/config.toml").write_text(
        '[server]\naddress = "0.0.0.0"\nbaseUrlPath = "x"\nport = 1\n[browser]\ngatherUsageStats = true\n'
    )
    served = dashboards(tmp_path, HOME=str(tmp_path), TTS_TRAIN_SHARE_TOKEN="a token that nobody asked for")
    parent = psutil.Process(served.pid)
    server = parent.children()[0]
    assert [at.laddr.ip for at in server.net_connections("inet") if at.status == psutil.CONN_LISTEN] == ["127.0.0.1"]
    assert ask(served.url, "/")[0] == 200
    parent.terminate()
    assert not psutil.wait_procs([server], timeout=20)[1]
    with pytest.raises(ConnectionRefusedError):
        ask(served.url)


def test_a_killed_command_leaves_no_server(tmp_path):
    script = Path(__file__).parents[2] / ".agent/skills/tts-train/scripts/dashboard.py"
    command = [sys.executable, "-P", str(script), "--port", "0", "--workspace", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["ok"]
        (server,) = psutil.Process(process.pid).children()
        process.kill()
        process.wait()
        assert not psutil.wait_procs([server], timeout=20)[1]


def test_without_chromium_tests_fail(tmp_path):
    """A skipped browser test would look like a passed one."""
    test = f"{Path(__file__)}::test_an_empty_workspace_says_how_to_fill_it"
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        env={**os.environ, "PATH": str(tmp_path), "TTS_TRAIN_CHROMIUM": ""},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 1, ended.stdout
    assert "no Chromium" in ended.stdout
