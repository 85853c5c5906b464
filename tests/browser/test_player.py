"""The player in a real browser: what is heard is recorded behind its mixer and told by its frequencies."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from tones import SPOKEN, Clip, clip, longest_gap, loudest_hz, tag_hz, word_hz

from tts_train.player import bundle

PACES = (1.0, 0.8, 1.25, 0.9)
MARKERS = {1: "STRUT", 8: "BATH", 11: "PALM"}
TOLERANCE_HZ = 10.0
PARTS = ("words", "core", "dom", "deck", "review", "questions", "trial")


def review(clips: Sequence[Clip], **more: Any) -> dict[str, Any]:
    sources = [
        {"id": f"s{k}", "label": f"epoch {k}", "url": f"s{k}.wav", "words": made.words} for k, made in enumerate(clips)
    ]
    transcript = [{"text": text, "marker": MARKERS.get(k)} for k, text in enumerate(SPOKEN)]
    return {"token": "one", "sources": sources, "transcript": transcript, **more}


def mount(data: Mapping[str, Any]) -> str:
    """A page with a review view, as `view`; what it tells is in `told`."""
    return f"""<!doctype html><meta charset="utf-8"><style>{bundle.style()}</style><input id="field">
<section class="ttp" aria-label="Listening player"></section><script>{bundle.script(*PARTS)}
const told = {{listened: [], tags: null}};
const root = document.querySelector(".ttp");
const view = new ReviewView(root, {{
  onlisten: (news) => told.listened.push(news),
  ontags: (tags) => {{ told.tags = tags; }},
}});
view.show({json.dumps(data)});
const player = view.player;
</script>"""


@pytest.fixture
def opened(serve, visit):
    """opened(clips, held={}, **data) opens a page with these clips, ready to play."""

    def open_page(clips: Sequence[Clip], held: Mapping[str, threading.Event] | None = None, *, data=None, **page: Any):
        data = data or review(clips)
        files = {f"s{k}.wav": ("audio/wav", made.wav) for k, made in enumerate(clips)}
        address = serve({**files, "": ("text/html", mount(data).encode())}, held)
        watched = visit(f"{address}/", **page)
        watched.page.locator(".ttp[data-ready=one]").wait_for()
        return watched

    return open_page


@pytest.fixture(scope="module")
def four() -> list[Clip]:
    clips = [clip(source, pace) for source, pace in enumerate(PACES)]
    assert len({round(made.seconds, 2) for made in clips}) == len(clips)
    return clips


def samples(encoded: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(encoded), "<f4")


def test_switching_between_lengths_leaves_no_gap_and_no_click(opened, four):
    page = opened(four).page
    page.evaluate("Promise.all(player.sources.map((_, k) => player.load(k)))")
    page.keyboard.press(" ")
    rate, recorded, words = page.evaluate(
        """async () => {
        const recorder = await Recorder.of(player);
        await recorder.pass(0.05);
        const from = player.context.currentTime, words = [];
        for (const next of [1, 2, 3, 0, 2, 1, 3, 0, 1, 2, 3, 1, 0, 3, 2, 0, 1, 3]) {
            const before = wordAt(player.sources[player.current].words, player.position());
            await player.select(next);
            words.push([before, wordAt(player.sources[next].words, player.position())]);
            await recorder.pass(0.08);
        }
        return [player.context.sampleRate, await recorder.samples(from, player.context.currentTime), words];
    }"""
    )
    sound = samples(recorded)
    gap = longest_gap(sound, rate)
    print(
        f"rate {rate} Hz, {len(sound) / rate:.2f} s, gap {gap * 1000:.3f} ms, step {np.max(np.abs(np.diff(sound))):.3f}"
    )
    assert len(sound) / rate > 1.5
    assert gap < 0.001
    # A tone of 1040 Hz and 0.3 steps by 0.08 between samples, its tag by 0.05: a click would step by the amplitude.
    assert np.max(np.abs(np.diff(sound))) < 0.2
    assert all(after - before in (0, 1) for before, after in words), words


@pytest.mark.parametrize("word", [0, 6, 13])
def test_a_looped_word_is_that_word_in_every_source(opened, four, word):
    page = opened(four).page
    page.evaluate("Promise.all(player.sources.map((_, k) => player.load(k)))")
    page.locator(".word").nth(word).click()
    page.locator(".word[aria-pressed=true]").wait_for()
    page.evaluate("Recorder.of(player).then((made) => { window.recorder = made; })")
    for source in (0, 1, 2, 3, 1):
        page.keyboard.press(str(source + 1))
        page.locator(f".ttp[data-source=s{source}]").wait_for()
        rate, recorded = page.evaluate(
            """async () => {
            const from = player.context.currentTime + 0.05;
            return [player.context.sampleRate, await recorder.samples(from, from + 0.7)];
        }"""
        )
        heard = loudest_hz(samples(recorded), rate)
        tag = loudest_hz(samples(recorded), rate, 3500.0, 6000.0)
        print(f"word {word} in source {source}: {heard:.1f} Hz, tag {tag:.1f} Hz")
        assert heard == pytest.approx(word_hz(word), abs=TOLERANCE_HZ)
        assert tag == pytest.approx(tag_hz(source), abs=TOLERANCE_HZ)
        assert page.locator(".word[aria-pressed=true] .spoken").inner_text() == SPOKEN[word]


def test_a_loop_turns_without_clicks(opened, four):
    page = opened(four).page
    page.locator(".word").nth(9).click()
    rate, recorded = page.evaluate(
        """async () => {
        const recorder = await Recorder.of(player);
        const from = player.context.currentTime + 0.05;
        return [player.context.sampleRate, await recorder.samples(from, from + 1.5)];
    }"""
    )
    sound = samples(recorded)
    assert 0.2 < longest_gap(sound, rate) < 0.3  # the pause between two turns
    sounding = np.flatnonzero(sound)
    pause = np.argmax(np.diff(sounding))
    last, first = sound[sounding[pause]], sound[sounding[pause + 1]]
    assert abs(last) < 0.02
    assert abs(first) < 0.02


def test_positions_are_mapped_through_words(opened, four):
    page = opened(four).page
    words = [[1.0, 2.0], [3.0, 4.0]], [[2.0, 2.5], [2.5, 5.0]], [[1.0, 2.0]]
    readings = [
        {"words": [{"start": a, "end": b} for a, b in times], "duration": duration}
        for times, duration in zip(words, (5.0, 6.0, 10.0), strict=True)
    ]
    unknown = {"words": [{"start": None, "end": None}, {"start": 3.0, "end": 4.0}], "duration": 5.0}
    beyond = {"words": [{"start": 1.0, "end": 2.0}, {"start": 3.0, "end": 9.0}], "duration": 5.0}

    def mapped(time: float, here: Any, there: Any) -> float:
        return page.evaluate("([time, here, there]) => mapTime(time, here, there)", [time, here, there])

    first, second, other = readings
    assert [mapped(time, first, second) for time in (0.0, 0.5, 1.5, 2.5, 3.5, 5.0)] == [0.0, 1.0, 2.25, 2.5, 3.75, 6.0]
    assert mapped(2.5, second, first) == 3.0  # the words touch: the later one
    assert mapped(2.5, first, other) == 5.0  # other words: in proportion
    assert mapped(1.5, unknown, first) == 1.5  # what is not known is bridged
    assert mapped(5.0, beyond, first) == 5.0
    assert mapped(99.0, first, second) == 6.0


def test_keys_alone(opened, four):
    data = review(four)
    data["sources"][3]["reference"] = True
    watched = opened(four, data=data)
    page = watched.page
    pressed = page.locator(".sources [aria-pressed=true] .label")
    player = page.locator(".ttp")
    page.keyboard.press("3")
    page.locator(".ttp[data-source=s2]").wait_for()
    page.keyboard.press("]")
    page.locator(".ttp[data-source=s3]").wait_for()
    page.keyboard.press("[")
    page.locator(".ttp[data-source=s2]").wait_for()
    page.keyboard.press("r")
    page.locator(".ttp[data-source=s3]").wait_for()
    assert pressed.inner_text() == "epoch 3"
    assert page.locator("[role=status]").inner_text() == "epoch 3"
    page.keyboard.press("1")
    page.locator(".ttp[data-source=s0]").wait_for()

    page.keyboard.press(" ")
    page.locator(".ttp[data-state=playing]").wait_for()
    page.keyboard.press(" ")
    page.locator(".ttp[data-state=silent]").wait_for()
    page.keyboard.press("Home")
    page.wait_for_function("player.position() === 0")

    looped = page.locator(".word[aria-pressed=true] .spoken")
    page.keyboard.press("ArrowRight")  # the word that is heard now
    looped.get_by_text(SPOKEN[0]).wait_for()
    page.keyboard.press("ArrowRight")
    looped.get_by_text(SPOKEN[1]).wait_for()
    page.keyboard.press("ArrowLeft")
    looped.get_by_text(SPOKEN[0]).wait_for()
    assert page.locator("[role=status]").inner_text() == f"Looping “{SPOKEN[0]}”."
    page.keyboard.press("Escape")
    looped.wait_for(state="detached")
    page.locator(".ttp[data-state=playing]").wait_for()  # it goes on

    page.keyboard.press("y")
    assert page.evaluate("player.sync") == "time"
    page.keyboard.press("y")
    assert page.evaluate("player.sync") == "word"

    page.locator("#field").focus()
    page.keyboard.type("3 rm")
    assert page.locator("#field").input_value() == "3 rm"
    page.keyboard.press("Control+2")
    assert player.get_attribute("data-source") == "s0"
    page.locator("#field").blur()

    page.keyboard.press("?")
    page.locator("dialog[open]").wait_for()
    page.keyboard.press("2")
    page.get_by_label("Use these keys").uncheck()
    page.keyboard.press("Escape")
    page.locator("dialog[open]").wait_for(state="detached")
    page.keyboard.press("2")
    assert player.get_attribute("data-source") == "s0"
    assert page.evaluate("player.pending") is None


def test_tags_belong_to_the_source_that_is_heard(opened, four):
    page = opened(four).page
    page.keyboard.press("m")
    assert "Choose a word first" in page.locator("[role=status]").inner_text()
    page.locator(".word").nth(8).click()
    page.locator(".word[aria-pressed=true]").wait_for()
    page.keyboard.press("m")
    word = page.locator(".word").nth(8)
    assert word.get_attribute("aria-label") == "market, BATH, mangled"
    assert "wavy" in word.locator(".spoken").evaluate("(word) => getComputedStyle(word).textDecoration")
    page.keyboard.press("2")
    page.locator(".ttp[data-source=s1]").wait_for()
    assert word.get_attribute("aria-label") == "market, BATH"
    page.keyboard.press("d")
    assert "line-through" in word.locator(".spoken").evaluate("(word) => getComputedStyle(word).textDecoration")
    assert page.evaluate("told.tags") == {"s0": {"8": "mangled"}, "s1": {"8": "dropped"}}
    page.keyboard.press("d")
    assert page.evaluate("told.tags") == {"s0": {"8": "mangled"}, "s1": {}}


def test_heard_is_what_was_played(opened):
    short = [clip(0, 0.5, words=4), clip(1, 0.5, words=4)]
    data = review(short)
    data["transcript"] = data["transcript"][:4]
    page = opened(short, data=data).page
    heard = "(k) => player.heard(k)"
    assert page.evaluate(heard, 0) == {"seconds": 0, "share": 0, "whole": False, "plays": 0}

    page.evaluate("player.seek(player.sources[0].duration - 0.2)")
    page.keyboard.press(" ")
    page.wait_for_function("player.heard(0).seconds > 0 && !player.playing")
    first = page.evaluate(heard, 0)
    assert first["seconds"] == pytest.approx(0.2, abs=0.02)
    assert not first["whole"]  # the end alone

    page.keyboard.press(" ")
    page.wait_for_function("player.heard(0).whole && !player.playing")
    whole = page.evaluate(heard, 0)
    assert whole["seconds"] == pytest.approx(short[0].seconds + 0.2, abs=0.02)
    assert whole["plays"] == 2

    page.keyboard.press(" ")
    page.keyboard.press("2")
    page.wait_for_function("player.current === 1 && !player.playing")
    switched = page.evaluate(heard, 1)
    assert switched["plays"] == 1
    assert switched["seconds"] == pytest.approx(switched["share"] * short[1].seconds, abs=0.01)
    page.wait_for_function("told.listened.length === 0")  # nobody asked yet
    page.evaluate("view.tell()")
    page.evaluate("view.tell()")
    news = page.evaluate("told.listened")
    assert len(news) == 1
    assert news[0]["current"] == "s1"
    assert news[0]["heard"]["s0"]["whole"]


def test_a_loop_is_not_the_whole_clip(opened, four):
    page = opened(four).page
    page.locator(".word").nth(3).click()
    page.wait_for_function("player.heard(0).seconds > 0.6")
    heard = page.evaluate("player.heard(0)")
    assert heard["share"] * four[0].seconds < 0.45
    assert not heard["whole"]


def test_clips_are_loaded_when_they_are_likely(opened, four):
    many = four + [clip(source, 0.7, words=len(SPOKEN)) for source in range(4, 9)]
    watched = opened(many)
    page = watched.page

    def loaded() -> set[str]:
        return {url.rsplit("/", 1)[1] for url in watched.requests if url.endswith(".wav")}

    page.wait_for_function("player.sources[1].buffer")
    assert loaded() == {"s0.wav", "s1.wav"}
    page.keyboard.press("7")
    page.wait_for_function("player.sources[7].buffer && player.sources[5].buffer")
    assert loaded() == {f"s{k}.wav" for k in (0, 1, 5, 6, 7)}


def test_the_old_clip_sounds_until_the_new_one_is_there_and_the_last_wish_wins(opened, four):
    held = {"s2.wav": threading.Event(), "s3.wav": threading.Event()}
    try:
        page = opened(four, held).page
        page.keyboard.press(" ")
        page.locator(".ttp[data-state=playing]").wait_for()
        page.keyboard.press("3")
        page.locator(".sources [aria-busy=true]").wait_for()
        assert page.evaluate("[player.playing, player.current]") == [True, 0]
        page.keyboard.press("4")
        held["s3.wav"].set()
        page.locator(".ttp[data-source=s3]").wait_for()
        held["s2.wav"].set()
        page.wait_for_function("player.sources[2].buffer")
        assert page.evaluate("[player.playing, player.current]") == [True, 3]
    finally:
        for event in held.values():
            event.set()


def test_a_clip_that_is_missing_is_told_and_the_sound_goes_on(opened, four):
    data = review(four)
    data["sources"][2]["url"] = "gone.wav"
    watched = opened(four, data=data)
    watched.allowed = ("404",)
    page = watched.page
    page.keyboard.press(" ")
    page.locator(".ttp[data-state=playing]").wait_for()
    page.keyboard.press("3")
    page.get_by_text("This clip cannot be played: the server answered 404.").wait_for()
    assert page.evaluate("[player.playing, player.current, player.pending]") == [True, 0, None]


def test_pictures_of_the_whole_render_lie_under_the_playhead_of_its_copy(opened, four):
    """The copy begins half a second into the picture: at its start the playhead is where the picture's 0.5 s are."""
    dot = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
    data = review(four)
    data["sources"][0]["pictures"] = {"waveform": dot, "mel": dot, "span": [-0.5, 4.0]}
    page = opened(four, data=data).page
    page.keyboard.press(" ")
    page.locator(".ttp[data-state=playing]").wait_for()
    page.keyboard.press(" ")
    lies, per_second = page.evaluate(
        """() => { const { duration } = player.sources[0], strip = view.deck.strip.getBoundingClientRect();
        const seconds = strip.width / duration, image = view.deck.mel.getBoundingClientRect();
        return [[(image.left - strip.left) / seconds, image.width / seconds], seconds]; }"""
    )
    assert per_second > 0
    assert lies == pytest.approx([-0.5, 4.5], abs=0.05)


def test_blind_nothing_but_letters_and_tokens(opened, four):
    data = review(four, blind=True)
    data["sources"][0] |= {
        "reference": True,
        "label": "the real speaker",
        "pictures": {"waveform": "w.png", "mel": "m.png"},
    }
    page = opened(four, data=data).page
    assert page.locator(".sources .label").all_inner_texts() == ["X", "A", "B", "C"]
    page.keyboard.press("1")
    page.locator(".ttp[data-source=s1]").wait_for()
    page.locator(".word").first.click()
    document = page.locator(".ttp").evaluate("(root) => root.outerHTML")
    assert "epoch" not in document
    assert "real" not in document
    assert ".png" not in document


def test_other_content_and_teardown_leave_one_closed_context(opened, four):
    page = opened(four).page
    page.keyboard.press(" ")
    page.locator(".ttp[data-state=playing]").wait_for()
    page.evaluate("(data) => view.show(data)", {**review(four), "token": "two"})
    page.locator(".ttp[data-ready=two][data-state=silent]").wait_for()
    page.keyboard.press(" ")
    page.locator(".ttp[data-state=playing]").wait_for()
    page.evaluate("view.close()")
    page.wait_for_function("contexts.every((context) => context.state === 'closed')")
    assert page.evaluate("contexts.length") == 1
    page.keyboard.press(" ")  # nobody listens any more
    assert page.locator(".ttp").inner_html() == ""


def test_one_trial_is_one_answer_until_it_is_refused(serve, visit):
    made = clip(0, 0.4, words=2)
    sides = {side: {"id": side, "url": "s0.wav", "words": made.words} for side in ("first", "second")}
    trial = {"token": "one", "kind": "ab", "question": "Which is better?", "sides": sides}
    page_text = f"""<!doctype html><meta charset="utf-8"><section class="ttp"></section><script>{bundle.script(*PARTS)}
const answers = [];
const view = new TrialView(document.querySelector(".ttp"), {{ onanswer: (answer) => answers.push(answer) }});
view.show({json.dumps(trial)});</script>"""
    watched = visit(serve({"": ("text/html", page_text.encode()), "s0.wav": ("audio/wav", made.wav)}) + "/")
    page = watched.page
    page.locator(".ttp[data-ready=one]").wait_for()
    page.keyboard.press("Enter")  # nothing to confirm
    for key in "ab":
        page.keyboard.press(key)
        page.locator(".ttp[data-state=playing]").wait_for()
        page.locator(".ttp[data-state=silent]").wait_for()
    page.keyboard.press("Enter")  # no answer yet
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert len(page.evaluate("answers")) == 1
    page.evaluate("view.refuse('The disk is full.')")
    assert page.locator("[role=status]").inner_text() == "The disk is full."
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    first, second = page.evaluate("answers")
    assert (first["answer"], second["answer"]) == ("second", "first")
    assert first["nonce"] == second["nonce"]
