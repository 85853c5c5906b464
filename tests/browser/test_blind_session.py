"""Blind sessions in the browser: by keyboard alone, telling nothing, elsewhere as here, for two listeners at once."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from tones import clip

from finished_run import KEY, workspace_in
from playable_run import make_playable
from tts_train.files import read_json, write_json
from tts_train.review.compare import compare
from tts_train.review.decision.next import propose
from tts_train.review.record.trials import judgements_of
from tts_train.review.sessions.sessions import close_session, list_sessions, new_session, show_session
from tts_train.review.sessions.travel import export_session, import_answers
from tts_train.workspace import Workspace

WORDS = 3
TEXTS = {"zebra-one": "Last summer I", "zebra-two": "last summer I"}
PROBE = {
    "name": "small",
    "language": "en",
    "items": [{"id": name, "text": text} for name, text in TEXTS.items()],
    "markers": [{"set": "BATH", "words": ["last"]}],
}
RUN = "secret-run"
SECRETS = ("epoch", "anchor", "natural", "identical", "matched", "zebra", RUN, KEY, "the base", "artifacts")
DEEP = ("404",)
"""On an address below the root Streamlit's own page first looks for its server there."""
WARM = 60_000
"""Milliseconds for the first page of a server."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A run whose clips can be told apart by ear: each source is a pace and a tone of its own."""
    place = workspace_in(tmp_path_factory.mktemp("blind"))
    (place.root / "configs/probes/small.yaml").write_text(json.dumps(PROBE))
    run = make_playable(place, RUN, epochs=2, texts=TEXTS)
    for number, note in enumerate(sorted(run.path.glob("renders/*/*/*.json"))):
        if note.name in ("measures.json", "anchor.json"):
            speak(note, number)
    return place


def speak(note: Path, number: int) -> None:
    """Real sound, with its words, in place of the few milliseconds that tests without ears make do with."""
    measures = read_json(note)
    for item in measures["items"]:
        made = clip(number, 0.3 + 0.03 * number, words=WORDS)
        path = note.parent / item["matched"]["file"]
        path.write_bytes(made.wav)
        about = {"sha256": hashlib.sha256(made.wav).hexdigest(), "audio_seconds": made.seconds}
        item["matched"] |= {**about, "trimmed_start_seconds": 0.0}
        item["words"] = made.words
    write_json(note, measures)


@pytest.fixture(scope="module")
def app(dashboards: Callable[..., Any], workspace: Workspace) -> str:
    return dashboards(workspace.root).url


def opened(visit: Callable[..., Any], address: str) -> Any:
    watched = visit(address)
    watched.allowed = DEEP
    return watched.page


def planned(workspace: Workspace, kind: str = "ab", listener: str = "ann", **more: Any) -> str:
    return new_session(workspace, RUN, kind=kind, listener=listener, trials=4, **more)["session"]


def stimuli(workspace: Workspace, session: str) -> list[str]:
    """Tokens of the first clips, in the order of trials: what a trial is called."""
    query = "SELECT token FROM stimuli WHERE session_id = ? AND position = 'first' ORDER BY trial"
    return [token for (token,) in sqlite3.connect(workspace.runs / "reviews.db").execute(query, (session,))]


def rows(workspace: Workspace, session: str) -> list[dict[str, Any]]:
    connection = sqlite3.connect(workspace.runs / "reviews.db")
    connection.row_factory = sqlite3.Row
    return [
        dict(row) for row in connection.execute("SELECT * FROM answers WHERE session_id = ? ORDER BY id", (session,))
    ]


def on(page: Any, token: str) -> None:
    page.locator(f".ttp[data-ready='{token}'][data-sent=false]").wait_for(timeout=WARM)


def hear(page: Any, keys: str) -> None:
    """Each clip whole, one after the other."""
    for count, key in enumerate(keys, 1):
        page.keyboard.press(key)
        expect(page.get_by_text("heard", exact=True)).to_have_count(count)
        page.locator(".ttp[data-state=silent]").wait_for()


def tab_to(page: Any, name: str) -> None:
    """Press Tab until the control of this name has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate("""() => {
            let here = document.activeElement;
            while (here.shadowRoot?.activeElement) here = here.shadowRoot.activeElement;
            const text = here.tagName === "BUTTON" ? here.innerText : here.labels?.[0]?.innerText;
            return here.getAttribute("aria-label") || text || "";
        }""")
        if name in focused:
            return
    pytest.fail(f"Tab does not reach '{name}'")


def everything(page: Any) -> str:
    """The document with what is in shadow roots."""
    return page.evaluate("""() => {
        const attributes = (element) => [...element.attributes].map((attribute) => attribute.value).join(" ");
        const inside = (root) => [...root.querySelectorAll("*")]
            .map((element) => attributes(element) + (element.shadowRoot ? whole(element.shadowRoot) : "")).join(" ");
        const whole = (root) => {
            const told = [...root.querySelectorAll("*")].filter((one) => !["SCRIPT", "STYLE"].includes(one.tagName));
            const texts = told.flatMap((one) => [...one.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE));
            return texts.map((node) => node.textContent).join(" ") + " " + inside(root);
        };
        return document.title + " " + whole(document.body);
    }""")


def test_a_whole_session_by_keyboard_alone(app, visit, workspace):
    watched = visit(f"{app}/listen?run={RUN}")
    watched.allowed = DEEP
    page = watched.page
    page.get_by_role("heading", name="Blind listening").wait_for(timeout=WARM)
    before = {row["session"] for row in list_sessions(workspace)["sessions"]}
    tab_to(page, "Listener")
    page.keyboard.type("ann")
    tab_to(page, "Trials in all")
    page.keyboard.type("4")
    tab_to(page, "Plan the session")
    page.keyboard.press("Enter")
    page.get_by_text("Trial 1 of 4").wait_for()
    ((session,),) = [[row["session"] for row in list_sessions(workspace)["sessions"] if row["session"] not in before]]
    assert page.url == f"{app}/listen?session={session}"

    tokens = stimuli(workspace, session)
    for number, token in enumerate(tokens):
        on(page, token)
        page.keyboard.press("1")  # nothing was heard yet
        assert page.locator("[role=status]").filter(has_text="First listen to A and B").count() == 1
        hear(page, "ab")
        page.keyboard.press("123"[number % 3])
        page.keyboard.press("+")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")  # twice is once
        if number == 1:
            page.get_by_text("Trial 3 of 4").wait_for()
            page.reload()
    page.get_by_text("All 4 trials are answered").wait_for()
    found = rows(workspace, session)
    assert [row["answer"] for row in found] == ["first", "second", "same", "first"]
    assert {row["confidence"] for row in found} == {3}
    assert all('"first"' in row["heard_seconds"] and '"second"' in row["heard_seconds"] for row in found)

    tab_to(page, "Close and reveal")
    page.keyboard.press("Enter")
    page.get_by_text("Suggested move").wait_for()
    page.get_by_text("All blind sessions on this run").wait_for()
    assert show_session(workspace, session)["closed"]
    assert len([one for one in judgements_of(workspace, RUN) if one.session == session and one.closed]) == 4
    compared, move = compare(workspace, RUN), propose(workspace, RUN)
    expect(page.get_by_text(compared["why"][:30])).to_be_visible()
    expect(page.get_by_text(f"Suggested move: {move['move']}")).to_be_visible()


@pytest.mark.parametrize(("kind", "keys"), [("xab", "xab"), ("sheet", "a")])
def test_neither_the_wire_nor_the_document_tells_what_is_heard(app, visit, workspace, kind, keys):
    session = planned(workspace, kind)
    watched = visit("about:blank")
    watched.allowed = DEEP
    watched.own = (f"{app}/", f"{app}/".replace("http:", "ws:"), "about:")
    frames: list[str] = []
    headers: list[str] = []
    page = watched.page
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: frames.append(_text(data))))
    page.on("websocket", lambda socket: socket.on("framesent", lambda data: frames.append(_text(data))))
    page.on("response", lambda answer: headers.append(str(answer.headers) if "/clips/" in answer.url else ""))
    page.goto(f"{app}/listen?session={session}&run={RUN}&listener=bob")
    for token in stimuli(workspace, session)[:2]:
        on(page, token)
        hear(page, keys)
        document = everything(page)
        assert "summer" in document  # it does see into the player
        assert [word for word in SECRETS if re.search(rf"\b{re.escape(word)}", document)] == []
        if kind == "sheet":
            page.keyboard.press("6")
        else:
            page.keyboard.press("1")
        page.keyboard.press("Enter")
    page.get_by_text("Trial 3 of 4").wait_for()
    assert page.url == f"{app}/listen?session={session}"
    told = [url for url in watched.requests if f"run={RUN}" not in url]
    clips = {url for url in told if "/clips/" in url}
    assert len(clips) >= 2
    assert all(re.fullmatch(rf"{re.escape(app)}/clips/[0-9a-f]{{32}}", url) for url in clips)
    assert [url for url in told for word in SECRETS if word in url] == []
    asked = f"run={RUN}"  # the address that this test itself opened
    wire = [frame.replace(asked, "") for frame in frames]
    assert any("/clips/" in frame for frame in wire)
    paths = ("epoch-0", "/target/", "/anchor/", "matched", "zebra", KEY, str(workspace.root))
    assert [word for frame in wire for word in paths if word in frame] == []
    assert [word for frame in wire for word in (RUN,) if word in frame] == []
    assert [word for header in headers for word in (*SECRETS, RUN) if word in header] == []


def _text(data: str | bytes) -> str:
    return data if isinstance(data, str) else data.decode("utf-8", "replace")


def test_two_listeners_at_once(app, visit, workspace):
    sessions = {name: planned(workspace, "ab", name, seed=5) for name in ("bob", "cat")}
    pages = {name: opened(visit, f"{app}/listen?session={session}") for name, session in sessions.items()}
    tokens = {name: stimuli(workspace, session) for name, session in sessions.items()}
    for number in range(2):
        for name, page in pages.items():
            on(page, tokens[name][number])
            hear(page, "ab")
        for name, page in pages.items():
            page.keyboard.press("1" if name == "bob" else "2")
            page.keyboard.press("Enter")
    for page in pages.values():
        page.get_by_text("Trial 3 of 4").wait_for()
    for name, answer in (("bob", "first"), ("cat", "second")):
        assert [(row["trial"], row["answer"]) for row in rows(workspace, sessions[name])] == [(1, answer), (2, answer)]


def test_an_answer_that_is_not_taken_says_so(app, visit, workspace):
    session = planned(workspace)
    page = opened(visit, f"{app}/listen?session={session}")
    on(page, stimuli(workspace, session)[0])
    hear(page, "ab")
    close_session(workspace, session, early=True)  # elsewhere, meanwhile
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.get_by_text("Suggested move").wait_for()
    assert rows(workspace, session) == []


def test_no_such_session_is_said(app, visit):
    page = opened(visit, f"{app}/listen?session={secrets.token_hex(5)}")
    page.get_by_text("there is no session").wait_for(timeout=WARM)
    page.get_by_role("button", name="All sessions").click()
    page.get_by_role("heading", name="Blind listening").wait_for()


@pytest.mark.parametrize("kind", ["ab", "sheet"])
def test_elsewhere_gives_the_rows_of_here(app, visit, workspace, tmp_path, kind):
    here, sent = planned(workspace, kind, seed=9), planned(workspace, kind, seed=9)
    export_session(workspace, sent, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        archive.extractall(tmp_path)
    page = visit((tmp_path / f"listen-{sent}/listen.html").as_uri()).page
    page.get_by_text("This page is for ann").wait_for()
    page.get_by_label("Where did you grow up").fill("Bolton")
    page.get_by_role("button", name="Start").click()
    answer(page, stimuli(workspace, sent), kind)
    page.get_by_role("heading", name="Done. Thank you!").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the answers file").click()
    download.value.save_as(tmp_path / "answers.json")
    assert import_answers(workspace, tmp_path / "answers.json")["added"] == 4
    assert import_answers(workspace, tmp_path / "answers.json")["known"] == 4

    live = opened(visit, f"{app}/listen?session={here}")
    answer(live, stimuli(workspace, here), kind)
    live.get_by_text("All 4 trials are answered").wait_for()
    same = ("trial", "answer", "sheet", "confidence", "replays")
    one, other = ([[row[name] for name in same] for row in rows(workspace, name)] for name in (sent, here))
    assert one == other
    if kind == "sheet":
        sheet = {"heard": ["mangled"], "markers": {"BATH": "overshot"}, "words": {"summer": "mangled"}, "note": ""}
        assert json.loads(one[0][2]) == sheet


def answer(page: Any, tokens: list[str], kind: str) -> None:
    for number, token in enumerate(tokens):
        on(page, token)
        if kind == "sheet":
            hear(page, "a")
            page.keyboard.press("ArrowRight")
            page.keyboard.press("ArrowRight")
            page.locator(".word[aria-pressed=true]").get_by_text("summer").wait_for()
            page.keyboard.press("m")
            page.keyboard.press("2")
            page.get_by_role("group", name="BATH, as in last").get_by_role("button", name="overdone").click()
            page.locator(".question").click()  # the focus off the button, where Enter would press it again
        else:
            hear(page, "ab")
            page.keyboard.press("123"[number % 3])
        page.keyboard.press("+")
        page.keyboard.press("Enter")
