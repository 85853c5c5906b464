"""The Runs and Verdicts pages in a real browser: news that come by themselves, keyboard, a phone, both themes."""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from measured_run import measured_workspace
from playwright.sync_api import Error, Page, expect

from finished_run import CONSTANT, make_run
from tts_train.files import write_json
from tts_train.processes import boot_id, start_time
from tts_train.review.record.verdicts import Verdict
from tts_train.review.recording import record_verdict
from tts_train.training.status import now
from tts_train.workspace import Workspace

TABS = ("Training", "Evidence", "Vowels", "Next move", "Lineage", "Dataset")
RUN_AGAIN = 40_000
"""Milliseconds within which a page looks at its runs again, on a busy machine."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = measured_workspace(tmp_path_factory.mktemp("seen"))
    record_verdict(made, Verdict("demo", 3, "ann", ("mangled",), {"BATH": "target"}, {"cup": "dropped"}, "her *cup*"))
    return made


@pytest.fixture(scope="module")
def address(dashboards, place: Workspace) -> str:
    return str(dashboards(place.root).url)


def settled(page: Page) -> None:
    """Nothing is being worked out any more."""
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_tab_is_drawn_within_the_width(visit, address: str, width: int, scheme: str, tmp_path: Path):
    page = visit(f"{address}/runs?run=demo", width=width, scheme=scheme).page
    for name in TABS:
        page.get_by_role("tab", name=name).click()
        expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
        panel = page.get_by_role("tabpanel", name=name)
        expect(panel).not_to_be_empty()
        settled(page)
        if name in ("Training", "Evidence", "Vowels"):
            drawn = panel.locator("canvas.marks, svg.marks, .vega-embed canvas").first
            expect(drawn).to_be_visible()
            assert drawn.bounding_box()["width"] > width / 8
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        page.screenshot(path=tmp_path / f"{name}-{width}-{scheme}.png")
    page.goto(f"{address}/verdicts")
    expect(page.get_by_role("heading", name="Verdicts: 1 of 1")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_address_opens_the_run_and_its_tab(visit, address: str):
    page = visit(f"{address}/runs?run=other&part=Lineage").page
    expect(page.get_by_role("tab", name="Lineage")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text("other (piper, stopped, 2 of 6 epochs)")).to_be_visible()


def test_a_click_in_the_list_is_a_choice(visit, address: str):
    page = visit(f"{address}/runs?run=other").page
    expect(page.get_by_text("stopped, 2 of 6 epochs")).to_be_visible()
    settled(page)
    # The rows are drawn on a canvas, newest run first; the accessible table behind it says which is where.
    rows = page.get_by_test_id("stDataFrame").first.locator("table tbody tr")
    expect(rows.filter(has_text="demo").first).to_be_attached()  # it comes some time after the canvas
    place = [row.startswith("demo") for row in rows.all_text_contents()].index(True)
    chosen = page.get_by_text("done, 6 of 6 epochs")
    for _ in range(3):  # a click that meets the list while it is looked at anew is lost
        page.get_by_test_id("stDataFrame").first.click(position={"x": 18, "y": 35 * (place + 1) + 18})
        with suppress(Error):
            chosen.wait_for(timeout=5_000)
            break
    expect(chosen).to_be_visible()
    expect(page).to_have_url(re.compile("run=demo"))


def test_news_of_a_run_under_way_come_by_themselves(visit, address: str, place: Workspace):
    folder = make_run(place, "young", CONSTANT, epochs=1, measured=False)
    alive = {
        "state": "training",
        "pid": os.getpid(),
        "pid_started": start_time(os.getpid()),
        "boot_id": boot_id(),
        "host": socket.gethostname(),
        "epoch": 2,
        "reason": None,
        "eta_seconds": 240.0,
    }
    for step, loss in ((13, 1.75), (14, 1.5)):
        write_json(
            folder.path / "status.json",
            {**alive, "step": step, "loss": loss, "heartbeat_at": now(), "progress_at": now()},
        )
        if step == 13:
            page = visit(f"{address}/runs?run=young").page
        expect(page.get_by_text(f"step {step}")).to_be_visible(timeout=RUN_AGAIN)
        expect(page.get_by_text("4 min left")).to_be_visible()
    write_json(
        folder.path / "status.json", {**alive, "state": "failed", "step": 14, "loss": None, "reason": "loss is NaN"}
    )
    expect(page.get_by_role("alert").get_by_text("loss is NaN")).to_be_visible(timeout=RUN_AGAIN)


def test_files_are_taken_away_by_keyboard(visit, address: str):
    page = visit(f"{address}/verdicts").page
    button = page.get_by_role("button", name="Download 1 run (zip)")
    button.focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "reviews.zip"
    assert download.value.path().read_bytes()[:2] == b"PK"
