"""The speech server's page: typed, heard sentence by sentence, stopped, by keyboard and with a token."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from humming_server import humming, noted, until_noted, voice
from tts_train.serve.command import Server

TOKEN = "a token that nobody guesses"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with humming(folder, voice("bob", "qwen3"), voice("eve", "qwen3")) as running:
        yield running


def test_a_text_is_spoken_by_keyboard_and_can_be_saved(visit, server: Server, folder: Path, tmp_path: Path) -> None:
    page = visit(f"{server.url}/").page
    expect(page.get_by_label("Voice").locator("option")).to_have_text(["bob (en)", "eve (en)"])
    expect(page.get_by_label("Text")).to_be_focused()
    page.keyboard.type("One here. Two there.")
    page.get_by_label("Voice").select_option("eve")
    page.keyboard.press("Control+Enter")

    expect(page.get_by_role("status")).to_contain_text("First sound after")
    assert noted(folder)[-2:] == ["say One here.", "say Two there."]
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save as WAV").click()
    saved.value.save_as(tmp_path / "speech.wav")
    with wave.open(str(tmp_path / "speech.wav")) as sound:
        assert sound.getframerate() == 24000
        # Two words, a pause of 0.2 s, two words.
        assert sound.getnframes() == 24000 * 6 // 10


def test_escape_stops_and_what_is_wrong_is_told(visit, server: Server, folder: Path, tmp_path: Path) -> None:
    watched = visit(f"{server.url}/", scheme="dark", width=390)
    watched.allowed = ("400",)
    page = watched.page
    go = tmp_path / "go"
    page.get_by_label("Text").fill(f"One. [wait {go}] Two. Never {tmp_path}.")
    page.get_by_role("button", name="Speak").click()
    until_noted(folder, f"say [wait {go}] Two.")
    page.keyboard.press("Escape")
    expect(page.get_by_role("status")).to_have_text("Stopped.")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    page.get_by_label("Text").fill("[wrong].")
    page.keyboard.press("Control+Enter")
    go.touch()
    expect(page.get_by_role("status")).to_contain_text("nothing to speak")

    assert not [line for line in noted(folder) if "Never" in line]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_with_a_token_it_asks_for_it(visit, tmp_path: Path) -> None:
    with humming(tmp_path, voice("bob", "qwen3"), token=TOKEN) as server:
        watched = visit(f"{server.url}/")
        watched.allowed = ("401",)
        page = watched.page
        expect(page.get_by_role("status")).to_have_text("Give the server's token.")
        page.get_by_label("Token").fill("another one, a wrong one")
        page.keyboard.press("Tab")
        expect(page.get_by_role("status")).to_contain_text("wants its token")
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Tab")
        expect(page.get_by_label("Voice").locator("option")).to_have_text(["bob (en)"])
        page.get_by_label("Text").fill("One here.")
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role("status")).to_contain_text("First sound after")
