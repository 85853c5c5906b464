"""The review page in a real browser: what is heard, what a verdict is on, how few keys it takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from spoken_run import PACES, spoken_run
from streamlit.testing.v1 import AppTest
from test_player import samples
from tones import SPOKEN, loudest_hz, tag_hz, word_hz

from playable_run import retrain
from tts_train.errors import DiskError
from tts_train.review import recording
from tts_train.review.record.store import verdicts_of
from tts_train.review.record.verdicts import Verdict
from tts_train.workspace import Workspace

DASHBOARD = Path(__file__).parents[2] / "dashboard"
PLAYER = (
    "[...document.querySelectorAll('[data-testid=stBidiComponentIsolated]')]"
    ".map((element) => element.shadowRoot.querySelector('.ttp')).find(Boolean).player"
)


@pytest.fixture(scope="module")
def served(dashboards, tmp_path_factory) -> tuple[str, Workspace]:
    workspace, _ = spoken_run(tmp_path_factory.mktemp("workspace"))
    return dashboards(workspace.root).url, workspace


@pytest.fixture
def opened(served, visit) -> Callable[..., Page]:
    """opened("ann", width=390) opens the page for a listener, ready to play."""

    def open_page(listener: str, **page: Any) -> Page:
        opened = visit(f"{served[0]}/?run=demo&listener={listener}", **page).page
        opened.locator(".ttp[data-ready]").wait_for(timeout=60_000)
        settled(opened)
        return opened

    return open_page


def settled(page: Page) -> None:
    """Wait for the page's script: Streamlit drops what is pressed while the page is still being made."""
    page.locator("[data-test-script-state=notRunning]").wait_for()


def on(page: Page, source: str) -> None:
    """Wait until the player is on a source, and the sheet has been told."""
    page.locator(f".ttp[data-source$='/{source}']").wait_for()


def heading(page: Page, epoch: int) -> None:
    expect(page.get_by_role("heading", name=f"Verdict on epoch {epoch}")).to_be_visible()


def said(served, listener: str) -> list[Verdict]:
    return [verdict for verdict in verdicts_of(served[1], "demo") if verdict.listener == listener]


def ticked(page: Page) -> list[bool]:
    boxes = page.locator(".st-key-review_heard input[type=checkbox]")
    return [boxes.nth(number).is_checked() for number in range(boxes.count())]


def test_a_verdict_is_two_actions_on_what_is_heard_and_goes_on_to_the_next_epoch(opened, served):
    page = opened("mouse")
    heading(page, 1)
    page.keyboard.press(" ")
    page.locator(".ttp[data-state=playing]").wait_for()
    page.get_by_role("button", name="epoch 2").click()
    heading(page, 2)
    page.get_by_text("Something of the accent is still missing").click()
    page.get_by_role("button", name="Save verdict").click()
    expect(page.get_by_text("Saved: epoch 2, feature-missing. Next: epoch 3.")).to_be_visible()
    on(page, "epoch-003")
    heading(page, 3)
    expect(page.get_by_role("button", name="epoch 2 ✓")).to_be_visible()
    assert not any(ticked(page))
    assert [(verdict.epoch, verdict.heard) for verdict in said(served, "mouse")] == [(2, ("feature-missing",))]


def test_every_epoch_is_judged_by_keys_alone(opened, served):
    page = opened("keys")
    for epoch, digit, key in ((1, 6, "3"), (2, 2, None), (3, 5, None)):
        heading(page, epoch)
        on(page, f"epoch-{epoch:03d}")
        page.keyboard.press(" ")
        page.locator(".ttp[data-state=playing]").wait_for()
        page.wait_for_timeout(200)
        if key:
            page.keyboard.press("0")  # compare with the base, and come back
            on(page, "epoch-000")
            page.keyboard.press("1")
            on(page, "epoch-001")
        page.keyboard.press(f"Shift+Digit{digit}")
        page.keyboard.press("Control+s")
        expect(page.get_by_text(f"Saved: epoch {epoch},")).to_be_visible()
    expect(page.get_by_text("Every epoch that can be heard is judged")).to_be_visible()
    rows = [(verdict.epoch, verdict.heard, verdict.session) for verdict in said(served, "keys")]
    assert rows == [(1, ("good",), None), (2, ("mangled",), None), (3, ("overshot",), None)]


def test_a_verdict_saved_at_once_is_on_the_new_source(opened, served):
    page = opened("quick")
    page.evaluate(f"Promise.all({PLAYER}.sources.map((_, k) => {PLAYER}.load(k)))")
    page.keyboard.press(" ")
    page.locator(".ttp[data-state=playing]").wait_for()
    page.keyboard.press("Shift+Digit1")
    page.keyboard.press("3")
    on(page, "epoch-003")
    page.evaluate("new Promise((done) => setTimeout(done, 60))")  # heard, but sooner than the player tells by itself
    page.keyboard.press("Control+s")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved: epoch 3, no-difference.")).to_be_visible()
    on(page, "epoch-001")
    page.wait_for_timeout(500)
    assert [(verdict.epoch, verdict.heard) for verdict in said(served, "quick")] == [(3, ("no-difference",))]


def test_what_is_missing_is_said_and_nothing_is_lost(opened, served):
    page = opened("")
    page.get_by_label("Notes").fill("her 2 r")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Say who is listening first")).to_be_visible()
    page = opened("unheard")
    page.get_by_label("Notes").fill("her 2 r")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Choose what you hear first.")).to_be_visible()
    page.get_by_role("button", name="base").click()
    expect(page.get_by_text("You hear the base.")).to_be_visible()
    expect(page.get_by_text("Choose what you hear first.")).to_be_visible()
    page.get_by_role("button", name="epoch 1").click()
    expect(page.get_by_text("The verdict is on what you hear.")).to_be_visible()
    page.get_by_text("As wanted").click()
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Listen to epoch 1 first")).to_be_visible()
    assert said(served, "unheard") == []
    page.locator(".play").click()
    page.wait_for_timeout(300)
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved: epoch 1, good.")).to_be_visible()
    assert [verdict.note for verdict in said(served, "unheard")] == ["her 2 r"]


def test_comparing_with_the_speaker_leaves_the_verdict_on_the_epoch(opened, served):
    page = opened("compares")
    page.keyboard.press(" ")
    page.locator(".ttp[data-state=playing]").wait_for()
    page.wait_for_timeout(100)
    page.keyboard.press("r")
    expect(page.get_by_text("You hear the real speaker. The verdict is on the epoch you heard before.")).to_be_visible()
    heading(page, 1)
    page.keyboard.press("Shift+Digit6")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved: epoch 1, good.")).to_be_visible()


def test_marks_and_words_reach_the_verdict_whatever_text_is_shown(opened, served):
    page = opened("marks")
    page.locator(".word").nth(8).click()  # market
    page.locator(".ttp[data-state=playing]").wait_for()
    page.keyboard.press("m")
    expect(page.get_by_text("Words: market mangled")).to_be_visible()
    page.get_by_text("Markers: BATH, GOAT").click()
    page.get_by_role("radiogroup", name=re.compile("^BATH: last")).get_by_text("baseline").click()
    page.get_by_role("radiogroup", name=re.compile("^GOAT: slow, road")).get_by_text("not heard").click()
    page.get_by_role("radiogroup", name=re.compile("^How sure")).get_by_text("4").click()
    page.get_by_role("combobox", name="Text").scroll_into_view_if_needed()
    page.get_by_role("combobox", name="Text").click()
    page.get_by_role("option", name=re.compile("^short: ")).click()
    on(page, "epoch-001")
    expect(page.locator(".word")).to_have_count(5)
    expect(page.get_by_role("radiogroup", name=re.compile("^BATH: last"))).to_be_visible()
    settled(page)
    page.locator(".word").nth(1).click()
    page.keyboard.press("d")
    expect(page.get_by_text("Words: market mangled, summer dropped")).to_be_visible()
    page.keyboard.press("Shift+Digit2")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved: epoch 1, mangled.")).to_be_visible()
    (verdict,) = said(served, "marks")
    assert dict(verdict.words) == {"market": "mangled", "summer": "dropped"}
    assert dict(verdict.markers) == {"BATH": "baseline", "GOAT": "not-heard"}
    assert (verdict.heard, verdict.confidence) == (("mangled",), 4)


def test_keys_after_a_choice_of_text_are_for_its_first_clip_even_while_that_is_loading(opened):
    page = opened("quick")
    loading, held = True, []
    page.route("**/clips/*", lambda request: held.append(request) if loading else request.continue_())
    page.get_by_role("combobox", name="Text").click()
    page.get_by_role("option", name=re.compile("^short: ")).click()
    expect(page.locator(".word")).to_have_count(5)

    page.keyboard.press("ArrowRight")
    page.keyboard.press("m")
    loading = False
    for request in held:
        request.continue_()

    expect(page.get_by_text(f"Words: {SPOKEN[0].lower()} mangled")).to_be_visible()
    page.locator(".ttp[data-state=playing]").wait_for()


def test_a_looped_word_is_that_word_in_every_source_of_the_page(opened):
    page = opened("loops")
    page.evaluate(f"Promise.all({PLAYER}.sources.map((_, k) => {PLAYER}.load(k)))")
    page.evaluate(f"Recorder.of({PLAYER}).then((made) => {{ window.recorder = made; }})")
    word = 9
    page.locator(".word").nth(word).click()
    page.locator(".word[aria-pressed=true]").wait_for()
    for key, (number, source) in zip("r0123", enumerate(PACES), strict=True):
        page.keyboard.press(key)
        on(page, source)
        rate, recorded = page.evaluate(
            f"""async () => {{
            const from = {PLAYER}.context.currentTime + 0.05;
            return [{PLAYER}.context.sampleRate, await recorder.samples(from, from + 0.7)];
        }}"""
        )
        sound = samples(recorded)
        assert loudest_hz(sound, rate) == pytest.approx(word_hz(word), abs=10), source
        assert loudest_hz(sound, rate, 3500.0, 6000.0) == pytest.approx(tag_hz(number), abs=10), source
        assert page.locator(".word[aria-pressed=true] .spoken").inner_text() == SPOKEN[word]


def test_markers_are_told_by_text_line_and_weight_not_by_colour_alone(opened):
    page = opened("looks")
    marked = page.locator(".word.marked")
    assert marked.locator(".spoken").all_inner_texts() == ["Last", "slow", "road"]
    assert marked.locator(".marker").all_inner_texts() == ["BATH", "GOAT", "GOAT"]
    look = "(word) => [getComputedStyle(word).textDecorationLine, Number(getComputedStyle(word).fontWeight) >= 600]"
    assert marked.locator(".spoken").first.evaluate(look) == ["underline", True]
    assert page.locator(".word:not(.marked) .spoken").first.evaluate(look) == ["none", False]
    assert marked.first.get_attribute("aria-label") == "Last, BATH"


def test_failed_gates_are_said_where_they_are_heard(opened):
    page = opened("gates")
    expect(page.get_by_text("gate failed:")).to_have_count(0)
    page.get_by_role("button", name="epoch 3 ✗").click()
    heading(page, 3)
    expect(page.get_by_text("wer gate failed: WER 31.0%; mangled: slow → snow")).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_is_readable_and_nothing_jumps(opened, width, scheme):
    page = opened("wide", width=width, scheme=scheme)
    save = page.get_by_role("button", name="Save verdict")
    save.scroll_into_view_if_needed()
    before = save.bounding_box()
    page.keyboard.press("1")
    on(page, "epoch-001")
    page.keyboard.press("2")
    heading(page, 2)
    page.wait_for_timeout(300)
    assert save.bounding_box() == before
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    poor = page.evaluate(CONTRAST)
    assert poor == []


CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = ([r, g, b, a], below) => [r, g, b].map((v, k) => v * a + below[k] * (1 - a));
    const ground = (element) => {
        if (!element) return rgba(getComputedStyle(document.querySelector(".stApp")).backgroundColor).slice(0, 3);
        const own = rgba(getComputedStyle(element).backgroundColor);
        return own[3] === 1 ? own.slice(0, 3) : over(own, ground(element.parentElement));
    };
    const light = (colour) => {
        const [r, g, b] = colour.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const poor = [];
    const walk = document.createTreeWalker(document.querySelector("[data-testid=stMain]"), NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
        const element = node.parentElement;
        if (!node.data.trim() || !element.checkVisibility() || element.closest("style, script")) continue;
        const below = ground(element);
        const [a, b] = [light(over(rgba(getComputedStyle(element).color), below)), light(below)].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) poor.push([node.data.trim().slice(0, 40), Math.round(ratio * 100) / 100]);
    }
    return poor;
}"""
"""Texts of the page (not of the player, which has its own test) with less than 4.5:1, WCAG's AA."""


def test_what_cannot_be_heard_is_said(served, dashboards, visit, tmp_path):
    workspace, run = spoken_run(tmp_path)
    retrain(run, 2)
    page = visit(f"{dashboards(workspace.root).url}/?run=demo&listener=ann").page
    page.locator(".ttp[data-ready]").wait_for(timeout=60_000)
    expect(page.get_by_text("epoch 2: its render is stale: the weights were trained again since")).to_be_visible()
    expect(page.get_by_role("button", name="epoch 2")).to_have_count(0)


# Without a browser


def app(workspace: Workspace, monkeypatch) -> AppTest:
    monkeypatch.setenv("TTS_TRAIN_WORKSPACE", str(workspace.root))
    return AppTest.from_file(str(DASHBOARD / "app_pages/review.py"), default_timeout=60)


def test_a_sheet_without_ears_is_refused(served, monkeypatch):
    page = app(served[1], monkeypatch)
    page.query_params["listener"] = "robot"
    page.run()
    assert [heading.value for heading in page.subheader] == ["Verdict on epoch 1"]
    assert "→ ship" in page.checkbox[5].label
    page.checkbox[5].check()
    next(button for button in page.button if button.label == "Save verdict").click().run()
    assert [warning.value for warning in page.warning] == ["Listen to epoch 1 first: a verdict is on what was heard."]
    assert said(served, "robot") == []
    assert not page.exception


def test_a_run_that_cannot_be_heard_says_what_to_type(tmp_path, monkeypatch):
    workspace, run = spoken_run(tmp_path)
    for note in run.path.glob("renders/*/*/*.json"):
        note.unlink()
    page = app(workspace, monkeypatch).run()
    assert "No epoch of demo can be heard yet" in page.info[0].value
    assert page.code[0].value.split()[1:3] == ["probe", "demo"]
    assert not page.exception


def test_why_a_verdict_was_not_taken_stays_until_the_next_try(served, monkeypatch):
    def refuse(*_: object) -> None:
        raise DiskError("the disk is full", hint="free some space")

    def save() -> None:
        next(button for button in page.button if button.label == "Save verdict").click().run()

    page = app(served[1], monkeypatch)
    page.query_params["listener"] = "unlucky"
    page.run()
    page.session_state["sitting demo unlucky"].heard.add(1)
    page.checkbox[5].check()
    with monkeypatch.context() as broken:
        broken.setattr(recording, "record_verdict", refuse)
        save()
    told = ["the disk is full\\. free some space\\."]
    assert [error.value for error in page.error] == told
    page.run()
    assert [error.value for error in page.error] == told
    save()
    assert not page.error
    assert [verdict.heard for verdict in said(served, "unlucky")] == [("good",)]
