"""A whole blind session on a page from file://: no server, no request, answers kept and handed out."""

from __future__ import annotations

import json
import re
import secrets
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from tones import SPOKEN, Clip, clip

from tts_train.player import bundle

WORDS = 3
SECRETS = ("epoch", "target", "anchor", "natural", "identical", "run-", "render")


def side(made: Clip) -> tuple[dict[str, Any], bytes]:
    return {"token": secrets.token_hex(8), "words": made.words, "gain": 1.0}, made.wav


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [clip(source, pace, words=WORDS) for source, pace in enumerate((0.5, 0.4, 0.6))]


def plan(clips: list[Clip]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Three trials, each with clips under tokens of its own."""
    bytes_of: dict[str, bytes] = {}

    def sides(**which: int) -> dict[str, Any]:
        told = {}
        for name, number in which.items():
            told[name], wav = side(clips[number])
            bytes_of[told[name]["token"]] = wav
        return told

    transcript = [{"text": text} for text in SPOKEN[:WORDS]]
    options = [{"value": "good", "label": "Good"}, {"value": "mangled", "label": "Words mangled"}]
    heard = {"id": "heard", "label": "What do you hear?", "options": options, "many": True, "required": True}
    trials = [
        {"kind": "abx", "question": "Which of the two is X?", "sides": sides(first=0, second=1, x=1)},
        {"kind": "xab", "question": "Which is nearer to X?", "sides": sides(first=1, second=0, x=2)},
        {"kind": "sheet", "question": "How is A?", "sides": sides(first=2), "questions": [heard], "note": True},
    ]
    for trial in trials:
        trial |= {"token": secrets.token_hex(8), "transcript": transcript}
    worn = {"id": "headphones", "label": "You listen with", "options": [{"value": "yes", "label": "headphones"}]}
    session = {
        "format": "tts-train-session/1",
        "session": secrets.token_hex(8),
        "plan": "signed",
        "title": "Listening to a voice",
        "introduction": "You will hear short clips.",
        "listener": "Ada L.",
        "profile": [worn],
        "trials": trials,
    }
    return session, bytes_of


@pytest.fixture
def folder(tmp_path: Path, clips: list[Clip]) -> tuple[Path, dict[str, Any]]:
    session, bytes_of = plan(clips)
    for name, data in bundle.files(session, bytes_of.items()):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path / "listen.html", session


def on(page: Any, trial: dict[str, Any]) -> None:
    page.locator(f".ttp[data-ready='{trial['token']}'][data-sent=false]").wait_for()


def heard(page: Any, count: int) -> None:
    expect(page.get_by_text("heard", exact=True)).to_have_count(count)


def until(page: Any, condition: str) -> None:
    """wait_for_function needs eval, which the page's policy forbids to it."""
    deadline = time.monotonic() + 15
    while not page.evaluate(f"const {{ player }} = document.querySelector('.ttp[data-state]'); {condition}"):
        assert time.monotonic() < deadline, condition


def test_a_session_by_keyboard_alone_with_a_reload_in_the_middle(folder, visit, tmp_path):
    path, session = folder
    first, second, third = session["trials"]
    watched = visit(path.as_uri())
    page = watched.page

    page.keyboard.press("Tab")
    page.keyboard.type(" Bolton ")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # headphones
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    on(page, first)
    page.keyboard.press("2")  # nothing was heard yet
    assert page.locator("[role=status]").inner_text() == "First listen to A, B and X to the end."
    for count, key in enumerate("abx", 1):
        page.keyboard.press(key)
        heard(page, count)
        page.locator(".ttp[data-state=silent]").wait_for()
    page.keyboard.press("a")
    page.locator(".ttp[data-state=playing]").wait_for()
    page.keyboard.press("2")
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("Enter")
    on(page, second)
    assert page.locator(".count").inner_text() == "Trial 2 of 3"
    page.keyboard.press("x")
    until(page, "player.heard(0).share > 0.3")

    page.reload()
    # A reload in the middle of a run may begin with that run's end: slow where two browsers share two cores.
    page.get_by_text("Welcome back: 1 of 3 trials are answered.").wait_for(timeout=40_000)
    page.get_by_text("This page is for Ada L.").wait_for()
    assert page.get_by_label("Where did you grow up").count() == 0  # it was said
    page.get_by_role("button", name="Continue").press("Enter")
    on(page, second)
    for count, key in enumerate("xab", 1):
        page.keyboard.press(key)
        heard(page, count)
        page.locator(".ttp[data-state=silent]").wait_for()
    page.keyboard.press("3")
    page.keyboard.press("Enter")

    on(page, third)
    page.keyboard.press("a")
    heard(page, 1)
    page.keyboard.press("ArrowRight")
    page.locator(".word[aria-pressed=true]").wait_for()
    page.keyboard.press("m")
    page.keyboard.press("2")
    page.get_by_label("Notes").focus()
    page.keyboard.type("a 1 x, all typed")
    page.get_by_label("Notes").blur()
    page.keyboard.press("Enter")

    page.get_by_role("heading", name="Done. Thank you!").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the answers file").press("Enter")
    download.value.save_as(tmp_path / "answers.json")
    assert download.value.suggested_filename == f"answers-ada-l-{session['session'][:8]}.json"
    file = json.loads((tmp_path / "answers.json").read_text())
    assert file["format"] == "tts-train-answers/1"
    assert (file["session"], file["plan"], file["total"]) == (session["session"], "signed", 3)
    assert file["listener"] == {"name": "Ada L.", "region": "Bolton", "headphones": "yes"}
    one, two, three = file["answers"]
    assert [answer["token"] for answer in file["answers"]] == [trial["token"] for trial in session["trials"]]
    assert (one["answer"], one["confidence"], one["replays"]) == ("second", 4, 1)
    assert (two["answer"], two["confidence"], two["replays"]) == ("same", None, 0)
    assert three["answer"] == "sheet"
    assert three["sheet"]["heard"] == ["mangled"]
    assert three["sheet"]["note"] == "a 1 x, all typed"
    assert list(three["sheet"]["words"].values()) == ["mangled"]
    for answer, trial in zip(file["answers"], session["trials"], strict=True):
        assert answer["clips"] == {side: clip["token"] for side, clip in trial["sides"].items()}
        assert re.fullmatch("[0-9a-f]{32}", answer["nonce"])
        assert all(seconds > 0.5 for seconds in answer["seconds_heard"].values())
    assert sorted(one["seconds_heard"]) == ["first", "second", "x"]
    assert {url.split("/")[0] for url in watched.requests if not url.startswith("blob:")} == {"file:"}

    page.get_by_role("button", name="Copy the answers").click()
    page.get_by_text("Copied.").wait_for()
    page.get_by_label("Answers").focus()
    page.keyboard.press("Control+v")  # read-only: it stays
    assert json.loads(page.get_by_label("Answers").input_value()) == file


PRESS_B_IN_THE_MIDDLE = """() => new Promise((done) => {
  const watch = setInterval(() => {
    if (document.querySelector('.ttp[data-state]').player.heard(0).share <= 0.4) return;
    clearInterval(watch);
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "b", bubbles: true }));
    done();
  }, 5);
})"""
"""Within the page: asked from outside, a busy machine has played the clip to its end before the key arrives."""


def test_switching_within_a_trial_keeps_the_place(folder, visit):
    path, session = folder
    page = visit(path.as_uri()).page
    page.get_by_role("button", name="Start").click()
    on(page, session["trials"][0])
    page.keyboard.press("a")
    page.evaluate(PRESS_B_IN_THE_MIDDLE)
    until(page, "player.current === 1")
    page.locator(".ttp[data-state=silent]").wait_for()
    of_a, of_b = (
        page.evaluate(f"document.querySelector('.ttp[data-state]').player.heard({source}).share") for source in (0, 1)
    )
    assert 0.4 < of_a < 0.9
    assert of_b == pytest.approx(1 - of_a, abs=0.12)  # on from where A was left
    assert page.locator(".answer").first.is_disabled()


def test_nothing_tells_which_clip_is_which(folder, visit):
    path, session = folder
    page = visit(path.as_uri()).page
    page.get_by_role("button", name="Start").click()
    on(page, session["trials"][0])
    page.keyboard.press("a")
    heard(page, 1)
    document = page.locator("main").evaluate("(root) => root.outerHTML")
    tokens = {clip["token"] for trial in session["trials"] for clip in trial["sides"].values()}
    assert not [token for token in tokens if token in document]
    assert not [word for word in SECRETS if word in document.lower()]
    assert page.locator(".side .label").all_inner_texts() == ["A", "B", "X"]
    names = sorted(file.name for file in path.parent.rglob("*.js"))
    assert names == sorted(f"{token}.js" for token in tokens)
    data = path.read_text().split("window.SESSION = ")[1].split("\n")[0]
    assert not [word for word in SECRETS if word in data]


def test_one_file_holds_it_all(tmp_path, clips, visit):
    session, bytes_of = plan(clips)
    (tmp_path / "all.html").write_text(bundle.page(session, bytes_of))
    watched = visit((tmp_path / "all.html").as_uri())
    page = watched.page
    page.get_by_role("button", name="Start").click()
    on(page, session["trials"][0])
    page.keyboard.press("b")
    heard(page, 1)
    assert [url for url in watched.requests if not url.startswith("blob:")] == [(tmp_path / "all.html").as_uri()]


def test_a_browser_that_keeps_nothing_is_told(folder, visit):
    path, session = folder
    blocked = (
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }});"
    )
    page = visit(path.as_uri(), init=blocked).page
    page.get_by_role("alert").get_by_text("This browser keeps nothing").wait_for()
    page.get_by_role("button", name="Start").click()
    on(page, session["trials"][0])
    for count, key in enumerate("abx", 1):
        page.keyboard.press(key)
        heard(page, count)
        page.locator(".ttp[data-state=silent]").wait_for()
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    on(page, session["trials"][1])
    page.get_by_role("button", name="Stop here and hand in").click()
    answers = json.loads(page.get_by_label("Answers").input_value())
    assert [answer["answer"] for answer in answers["answers"]] == ["first"]
    page.get_by_role("button", name="Go on listening").click()
    on(page, session["trials"][1])


def test_a_folder_without_its_clips_says_so(folder, visit):
    path, _ = folder
    for file in path.parent.glob("clips/*.js"):
        file.unlink()
    watched = visit(path.as_uri())
    watched.allowed = ("ERR_FILE_NOT_FOUND",)
    page = watched.page
    page.get_by_role("button", name="Start").click()
    page.get_by_text("Unpack the whole folder").wait_for()


def test_text_of_a_plan_is_never_code(tmp_path, clips, visit):
    session, bytes_of = plan(clips)
    session["title"] = "</script><script>window.stolen = 1</script><img src=x onerror='window.stolen = 1'>%%STYLE%%"
    session["trials"][0]["question"] = "<b onclick=x>&amp;\u2028"
    (tmp_path / "all.html").write_text(bundle.page(session, bytes_of))
    page = visit((tmp_path / "all.html").as_uri()).page
    assert page.locator("h1").inner_text() == session["title"]
    page.get_by_role("button", name="Start").click()
    on(page, session["trials"][0])
    assert page.locator(".question").text_content() == session["trials"][0]["question"]
    assert page.evaluate("window.stolen") is None


def test_pages_are_small():
    page = bundle.page({"trials": []})
    assert len(zlib.compress(page.encode())) < 25_000
