"""A dataset's report.html from file://, as a person uses it: play, sort, filter, search, take back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from messy_dataset import EVIL, make_dataset
from tts_train.dataset_report import write_page

PATIENCE = 15_000
"""Milliseconds until a clip must have sounded."""
SCHEMES = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const under = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const words = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!words || element.closest("script, noscript, [hidden], :disabled") || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(parse(element.closest("svg") ? style.fill : style.color)), light(under(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${element.tagName}.${element.className}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "datasets" / "messy")


@pytest.fixture
def opened(folder: Path, visit):
    """opened(width=…, scheme=…) opens the page of a messy dataset."""
    page = write_page(folder)
    return lambda **given: visit(f"file://{page}", **given).page


def clips(page: Page, name: str) -> Locator:
    return page.locator(f"[data-list={name}] .clip")


def sounded(page: Page, seconds: float) -> None:
    """Wait until the clip in the player is past `seconds`. No wait_for_function: the page's policy forbids eval."""
    page.locator("#player input").evaluate(
        """async (bar, [past, patience]) => {
          const until = performance.now() + patience;
          while (bar.value < past && performance.now() < until) await new Promise(requestAnimationFrame);
          if (bar.value < past) throw new Error(`nothing sounds: ${bar.value} s`);
        }""",
        [seconds, PATIENCE],
    )


def ids(page: Page, name: str) -> list[str]:
    """Of the rows that are shown, in their order."""
    return clips(page, name).locator("dl div:first-child dd").all_text_contents()


def numbers(page: Page, name: str, label: str) -> list[float]:
    rows = clips(page, name).locator("dl div", has=page.locator("dt", has_text=label)).locator("dd")
    return [float(text.split()[0].replace("−", "-")) for text in rows.all_text_contents()]


def test_a_rejected_clip_sounds_and_stops(opened):
    page = opened()
    row = clips(page, "rejected").filter(has_text="noisy").first
    play = row.locator(".play")
    play.click()
    expect(play).to_have_attribute("aria-pressed", "true")
    player = page.locator("#player")
    expect(player).to_be_visible()
    sounded(page, 0.3)
    play.click()
    expect(play).to_have_attribute("aria-pressed", "false")
    assert page.locator("#player input").evaluate("bar => bar.max - bar.value") > 0.1, "it was stopped, not played out"
    stood = page.locator("#player input").input_value()
    page.wait_for_timeout(150)
    assert page.locator("#player input").input_value() == stood


def test_another_clip_takes_over_and_the_seek_bar_moves_it(opened):
    page = opened()
    first, second = (clips(page, "kept").nth(number).locator(".play") for number in (0, 1))
    first.click()
    expect(first).to_have_attribute("aria-pressed", "true")
    second.click()
    expect(second).to_have_attribute("aria-pressed", "true")
    expect(first).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#player .now")).to_contain_text(ids(page, "kept")[1])
    page.locator("#player .play").click()
    expect(second).to_have_attribute("aria-pressed", "false")
    seek = page.locator("#player input")
    seek.focus()
    page.keyboard.press("End")
    sounded(page, 1)


def test_a_clip_with_an_odd_name_sounds(opened):
    page = opened()
    page.get_by_role("button", name="Play odd").click()
    sounded(page, 0.1)


def test_a_clip_that_is_gone_is_told_of(folder: Path, visit):
    page_path = write_page(folder)
    (folder / "clips/book-c00001.wav").unlink()
    watched = visit(f"file://{page_path}")
    watched.allowed = ("ERR_FILE_NOT_FOUND",)
    clips(watched.page, "kept").first.locator(".play").click()
    expect(watched.page.locator("#player .now")).to_contain_text("cannot be played")


def test_an_embedded_clip_sounds_away_from_the_dataset(folder: Path, visit, tmp_path: Path):
    page_path = write_page(folder, output=tmp_path / "alone.html", embed=True)
    folder.rename(tmp_path / "moved")
    page = visit(f"file://{page_path}").page
    clips(page, "rejected").filter(has_text="too-short").first.locator(".play").click()
    sounded(page, 0.2)


def test_rejected_clips_are_filtered_by_reason_and_sorted_by_a_measure(opened):
    page = opened()
    expect(clips(page, "rejected")).to_have_count(15)
    page.get_by_role("button", name="noisy 3").click()
    expect(clips(page, "rejected")).to_have_count(3)
    expect(page.locator("[data-list=rejected] .status")).to_have_text("3 of 15 clips")
    expect(page.locator(".meaning")).to_have_text("too much noise under the speech")
    page.get_by_role("button", name="all 15").click()
    expect(page.locator(".meaning")).to_have_text("")
    page.locator("[data-list=rejected] select").select_option(label="Signal to noise, dB")
    found = numbers(page, "rejected", "Signal to noise")
    assert len(found) == 10
    assert found == sorted(found)
    page.locator("[data-list=rejected]").get_by_role("button", name="Reversed").click()
    assert numbers(page, "rejected", "Signal to noise") == found[::-1]
    page.locator("[data-list=rejected] select").select_option(label="Reason")
    marks = clips(page, "rejected").locator(".mark").all_text_contents()
    assert marks == sorted(marks, reverse=True)


def test_texts_are_searched_without_case_and_shown_piece_by_piece(opened):
    page = opened()
    kept = page.locator("[data-list=kept]")
    expect(clips(page, "kept")).to_have_count(25)
    kept.get_by_role("button", name="Show more").click()
    expect(clips(page, "kept")).to_have_count(50)
    expect(kept.get_by_role("button", name="Show more")).to_be_hidden()
    focused = page.evaluate(
        "[...document.activeElement.closest('ol').children].indexOf(document.activeElement.closest('li'))"
    )
    assert focused == 25, "the keyboard goes on where the new rows begin"
    kept.get_by_role("searchbox").fill("ONERROR")
    expect(clips(page, "kept").locator(".said").first).to_have_text(EVIL)
    kept.get_by_role("searchbox").fill("no such words")
    expect(kept.locator(".status")).to_have_text("0 of 50 clips")
    kept.get_by_role("searchbox").fill("")
    kept.get_by_label("Chapter").select_option(index=1)
    expect(kept.locator(".status")).to_have_text("33 of 50 clips; the first 25 are shown")


def test_a_clip_is_taken_back_with_the_command_beside_it(opened):
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    rows = clips(page, "rejected").filter(has=page.get_by_text("Numbers, and take it back"))
    for number in (0, 1):
        rows.nth(number).locator("summary").click()
        rows.nth(number).get_by_role("checkbox").check()
    basket = page.locator("[data-list=rejected] .chosen")
    expect(basket).to_contain_text("2 collected")
    expect(basket.locator("code")).to_have_text(
        "./run.sh rejections restore datasets/messy book-c00000 'it'\"'\"'s;odd'"
    )
    basket.get_by_role("button", name="Copy").click()
    expect(basket.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == basket.locator("code").text_content()


def test_nothing_that_people_wrote_runs(opened):
    page = opened()
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("window.pwned") is None
    assert page.locator("img").count() == 0


@pytest.mark.parametrize(("width", "scheme"), SCHEMES)
def test_it_fits_and_can_be_read(opened, width: int, scheme: str):
    page = opened(width=width, scheme=scheme)
    for summary in page.locator("summary").all()[:6]:
        summary.click()
    clips(page, "kept").first.locator(".play").click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(CONTRAST) == []


def test_it_can_be_used_without_a_mouse(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#numbers"
    row = clips(page, "rejected").filter(has_text="too-short").first
    row.locator(".play").focus()
    page.keyboard.press("Space")
    expect(row.locator(".play")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(row.locator("details")).to_have_attribute("open", "")


def test_every_picture_and_control_has_a_name(opened):
    page = opened()
    wanted = "button, input, select, svg:not([aria-hidden]), [role=region]"
    unnamed = page.locator(wanted).evaluate_all(
        """(all) => all.filter((one) => !one.ariaLabel && !one.textContent.trim() && !one.closest("label")).length"""
    )
    assert unnamed == 0
    expect(page.get_by_role("img", name="Signal to noise: median")).to_be_visible()


def test_hundreds_of_files_are_no_list_to_choose_from(folder: Path, visit):
    rows = [{"id": f"c{n}", "text": "t", "source": f"{n}.wav", "audio_seconds": 1.0} for n in range(301)]
    (folder / "train_manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = visit(f"file://{write_page(folder)}").page
    expect(page.locator("[data-list=kept]").get_by_label("Sort by")).to_be_visible()
    expect(page.locator("[data-list=kept]").get_by_label("Chapter")).to_have_count(0)


def test_twenty_thousand_clips_open_and_are_searched(tmp_path: Path, visit):
    folder = make_dataset(tmp_path / "datasets" / "large", 20_000, audio=False)
    written = write_page(folder)
    assert written.stat().st_size < 8_000_000
    page = visit(f"file://{written}").page
    expect(page.locator("[data-list=kept] .status")).to_contain_text("16,666 clips")
    page.locator("[data-list=kept]").get_by_role("searchbox").fill("book-c19999")
    expect(clips(page, "kept")).to_have_count(1)
    rows = json.loads(page.locator("#data").text_content() or "")["kept"]
    assert len(rows) == 16_666
