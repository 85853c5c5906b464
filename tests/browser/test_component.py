"""The player inside a Streamlit page: sound outlives reruns, Python learns what was heard, answers come once."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from tones import clip

WORDS = 6
PLAYER = "document.querySelector('[data-testid=stBidiComponentIsolated]').shadowRoot.querySelector('.ttp').player"


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("app")
    (folder / "static").mkdir()
    shutil.copy(Path(__file__).parent / "app.py", folder / "app.py")
    text = (folder / "app.py").read_text()
    (folder / "app.py").write_text(
        text.replace("Path(__file__).parents[2]", f"Path({str(Path(__file__).parents[2])!r})")
    )
    words = {}
    for source, pace in enumerate((1.0, 0.8, 1.25)):
        made = clip(source, pace, words=WORDS)
        (folder / "static" / f"s{source}.wav").write_bytes(made.wav)
        words[f"s{source}"] = made.words
    (folder / "clips.json").write_text(json.dumps(words))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "server.address": "127.0.0.1",
        "server.port": port,
        "server.headless": "true",
        "server.enableStaticServing": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        # Streamlit 1.67 may refer to a message that the browser has just dropped from its cache, which ends the
        # connection ("Cached ForwardMsg MISS"). It happens to large messages that come back within quick reruns.
        "global.minCachedMessageSize": 1_000_000_000,
    }
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "app.py",
        *(f"--{name}={value}" for name, value in options.items()),
    ]
    log = (folder / "log.txt").open("wb")
    environment = {**os.environ, "CLIPS": str(folder / "clips.json")}
    server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not healthy(address):
            assert server.poll() is None, (folder / "log.txt").read_text()
            assert time.monotonic() < deadline, "the app does not start"
            time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(20)
        log.close()
    assert "Traceback" not in (folder / "log.txt").read_text()


def healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def value(page: Any, name: str) -> Any:
    return json.loads(page.locator(f"output[data-name='{name}']").text_content())


def until(page: Any, name: str, condition: Any) -> Any:
    """The value that Python shows, once `condition` holds for it."""
    deadline = time.monotonic() + 20
    while not condition(shown := value(page, name)):
        assert time.monotonic() < deadline, shown
        page.wait_for_timeout(50)
    return shown


def test_sound_outlives_reruns_and_python_learns_what_was_heard(app, visit):
    page = visit(app).page
    page.locator(".ttp[data-ready='one False']").wait_for(timeout=60_000)
    page.locator(".word").first.click()  # a loop, to have sound for as long as it takes
    page.locator(".ttp[data-state=playing]").wait_for()
    page.evaluate(f"window.before = {PLAYER}")
    page.keyboard.press("2")
    listened = until(page, "listened", lambda shown: shown["current"] == "s1")
    assert listened["heard"]["s1"]["plays"] == 1
    page.keyboard.press("m")
    listened = until(page, "listened", lambda shown: shown["tags"])
    assert listened["tags"] == {"s1": {"0": "mangled"}}

    reruns = value(page, "reruns")
    page.get_by_label("notes").fill("her 2 r")
    page.keyboard.press("Control+s")
    saved = until(page, "saved", lambda shown: shown)
    assert saved == {"current": "s1", "notes": "her 2 r"}
    until(page, "reruns", lambda shown: shown > reruns)
    assert page.evaluate(f"[{PLAYER} === window.before, {PLAYER}.playing, {PLAYER}.current, contexts.length]") == [
        True,
        True,
        1,
        1,
    ]


def test_a_verdict_is_on_the_source_that_is_heard_at_that_moment(app, visit):
    page = visit(app).page
    page.locator(".ttp[data-ready='one False']").wait_for(timeout=60_000)
    page.get_by_label("notes").click()
    page.evaluate(f"{PLAYER}.load(1)")
    page.get_by_label("notes").fill("at once")
    page.locator(".sources button").nth(1).click()
    page.locator(".ttp[data-source=s1]").wait_for()
    page.keyboard.press("Control+s")  # long before the player would have told by itself
    saved = until(page, "saved", lambda shown: shown)
    assert saved == {"current": "s1", "notes": "at once"}


def test_streamlits_own_keys_stay_off(app, visit):
    page = visit(app).page
    page.locator(".ttp[data-ready='one False']").wait_for(timeout=60_000)
    page.keyboard.press("r")  # Streamlit: rerun; here: the reference
    page.locator(".ttp[data-source=s2]").wait_for()
    page.keyboard.press("1")
    until(page, "listened", lambda shown: shown["current"] == "s0")
    assert value(page, "pages") == 1  # only the fragment ran
    page.get_by_role("radio", name="two").focus()
    page.keyboard.press(" ")  # a control of the page takes its own keys
    page.locator(".ttp[data-ready='two False'][data-state=silent]").wait_for()


def test_blind_the_page_and_its_wire_hold_no_label(app, visit):
    watched = visit(app)
    page = watched.page
    page.locator(".ttp[data-ready='one False']").wait_for(timeout=60_000)
    received: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(str(frame))))
    page.reload()
    page.locator(".ttp[data-ready='one False']").wait_for()
    assert any("epoch 1" in frame for frame in received)  # open, the label is there
    until(page, "reruns", lambda shown: shown > 1)  # what the player tells by itself has come and gone
    received.clear()
    page.get_by_text("blind", exact=True).click()
    page.locator(".ttp[data-ready='one True']").wait_for()
    until(page, "reruns", lambda shown: shown > 2)
    assert page.locator(".sources .label").all_inner_texts() == ["A", "B", "X"]
    assert received
    assert not [frame for frame in received if "epoch" in frame]
    assert "epoch" not in page.content() + page.locator(".ttp").evaluate("(root) => root.outerHTML")


def test_other_content_keeps_the_context_and_leaving_closes_it(app, visit):
    page = visit(app).page
    page.locator(".ttp[data-ready='one False']").wait_for(timeout=60_000)
    page.keyboard.press(" ")
    page.locator(".ttp[data-state=playing]").wait_for()
    page.get_by_text("two", exact=True).click()
    page.locator(".ttp[data-ready='two False']").wait_for()
    assert page.evaluate("contexts.map((context) => context.state)") == ["running"]
    page.get_by_role("link", name="Session").click()
    page.locator(".ttp[data-ready=trial0]").wait_for()
    page.wait_for_function("contexts[0].state === 'closed'")
    assert page.evaluate("contexts.length") == 2
    page.wait_for_timeout(600)  # longer than the player waits before it tells: a rerun of the page that was left
    assert value(page, "answers") == []  # would have emptied this one


def test_one_answer_per_submit(app, visit):
    page = visit(app).page
    page.get_by_role("link", name="Session").click(timeout=60_000)
    for number in range(2):
        page.locator(f".ttp[data-ready=trial{number}][data-sent=false]").wait_for(timeout=60_000)
        for count, key in enumerate("ab", 1):
            page.keyboard.press(key)
            expect(page.get_by_text("heard", exact=True)).to_have_count(count)
            # "Heard" is said just before the end: pressed then, the next key would play the other clip's end only.
            page.locator(f".ttp[data-ready=trial{number}][data-state=silent]").wait_for()
        page.keyboard.press("1" if number else "3")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        answers = until(page, "answers", lambda shown, number=number: len(shown) > number)
        assert len(answers) == number + 1
    first, second = answers
    assert (first["token"], first["answer"]) == ("trial0", "same")
    assert (second["token"], second["answer"]) == ("trial1", "first")
    assert first["nonce"] != second["nonce"]
    assert set(first["seconds_heard"]) == {"first", "second"}
    assert all(seconds > 1.0 for seconds in first["seconds_heard"].values())
