"""The review page without a browser: what can be heard, what a verdict is on, what it would lead to."""

from __future__ import annotations

import pytest

from finished_run import CONSTANT, HOT, KEY, workspace_in
from judged_run import evidence_of
from judged_run import heard as verdict_on
from playable_run import make_playable, retrain
from player.component import Heard, Listened
from tts_train.files import read_json, write_json
from tts_train.probe.material import stimuli
from tts_train.probe.probe import load_probe
from tts_train.review.record.verdicts import CATEGORIES
from views import review
from views.readings import clips_of, items_of, read_readings, seeds_of, silent_epochs, written_words
from views.review import Sitting

WORDS = ["Put", "the", "cup", "on", "the", "grass", "path,"]


def listened(current: str | None, tags: dict | None = None, **seconds: float) -> Listened:
    """What the player reports; its ids hold a token."""
    heard = {f"run/key/item/0/3/{name.replace('_', '-')}": Heard(value, False, 1) for name, value in seconds.items()}
    tagged = {f"run/key/item/0/3/{name}": marks for name, marks in (tags or {}).items()}
    return Listened(current and f"run/key/item/0/3/{current}", heard, tagged)


def listening(**changes: object) -> Sitting:
    sitting = Sitting(epoch=2)
    sitting.listen(listened("epoch-002", epoch_002=1.5), "passage", 0, WORDS)
    for name, value in changes.items():
        setattr(sitting, name, value)
    return sitting


@pytest.fixture
def place(tmp_path):
    return workspace_in(tmp_path)


@pytest.fixture
def run(place):
    return make_playable(place, epochs=3)


def listed(run):
    renders = run.path / "renders" / KEY
    return stimuli(run, KEY), read_readings(renders)


# What can be heard


def test_clips_are_the_speaker_the_base_and_the_epochs_of_one_text(run):
    clips = clips_of(*listed(run), "one", 0)
    assert [clip.source for clip in clips] == ["target", "epoch-000", "epoch-001", "epoch-002", "epoch-003"]
    assert {clip.stimulus.item for clip in clips} == {"one"}


def test_the_speaker_spoke_once_whatever_the_seed(place):
    playable, readings = listed(make_playable(place, "two", epochs=1, seeds=(0, 1)))
    assert seeds_of(playable, "one") == [0, 1]
    clips = clips_of(playable, readings, "one", 1)
    assert [(clip.source, clip.stimulus.seed) for clip in clips] == [("target", 0), ("epoch-000", 1), ("epoch-001", 1)]


def test_items_come_in_the_order_of_the_probe(place, run):
    probe = load_probe(place.root / "configs/probes/small.yaml")
    assert items_of(listed(run)[0], probe) == ["passage", "four", "one", "three", "two"]
    assert items_of([], probe) == []


def test_times_of_words_are_those_of_the_trimmed_copy(run):
    note = run.path / "renders" / KEY / "epoch-001" / "measures.json"
    data = read_json(note)
    data["items"][1]["words"] = [
        {"word": "The", "start": 0.10, "end": 0.52},
        {"word": "bath", "start": None, "end": None},
    ]
    data["items"][1]["matched"]["trimmed_start_seconds"] = 0.2
    data["items"][1]["audio_seconds"] = 1.5
    (note.parent / "one.mel.png").write_bytes(b"")
    data["items"][1]["pictures"] = {"mel": "one.mel.png", "waveform": "gone.png"}
    write_json(note, data)
    reading = read_readings(run.path / "renders" / KEY)["epoch-001", "one", 0]
    assert reading.words == (("The", 0.0, 0.32), ("bath", None, None))
    assert (reading.mel, reading.waveform) == (note.parent / "one.mel.png", None)
    assert reading.pictured == (-0.2, data["items"][1]["audio_seconds"] - 0.2)


def test_an_epoch_that_cannot_be_heard_is_named_with_the_reason(run):
    retrain(run, 1)
    renders = run.path / "renders" / KEY
    (renders / "epoch-002" / "measures.json").unlink()
    data = read_json(renders / "epoch-003" / "measures.json")
    data["items"][1] |= {"matched": None, "not_matched": "there is nothing but silence"}
    write_json(renders / "epoch-003" / "measures.json", data)
    playable, readings = listed(run)
    assert silent_epochs(run, KEY, playable, readings, "one", 0) == [
        (1, "its render is stale: the weights were trained again since"),
        (2, "rendered, but not measured yet"),
        (3, "there is nothing but silence"),
    ]
    assert [number for number, _ in silent_epochs(run, KEY, playable, readings, "two", 0)] == [1, 2]
    (renders / "epoch-002" / "render.json").unlink()
    assert silent_epochs(run, KEY, playable, readings, "one", 0)[1] == (2, "not rendered yet")
    (renders / "epoch-003" / "matched" / "two.wav").write_bytes(b"other")
    playable, readings = listed(run)
    assert silent_epochs(run, KEY, playable, readings, "two", 0)[-1] == (3, "its copy is not the one that was made")


def test_the_text_keeps_its_punctuation_where_words_are_one_to_one():
    spoken = [("A", 0.0, 0.1), ("well", 0.1, 0.2), ("known", 0.2, 0.3), ("man", 0.3, 0.4)]
    assert written_words("A well known man.", spoken) == ["A", "well", "known", "man."]
    assert written_words("A well-known man.", spoken) == ["A", "well", "known", "man"]
    assert written_words("A man – no.", []) == ["A", "man", "–", "no."]


# What a verdict is on


def test_a_verdict_follows_what_is_heard():
    sitting = listening()
    assert sitting.listen(listened("epoch-003", epoch_002=1.5, epoch_003=0.4), "passage", 0, WORDS) == "epoch-003"
    assert (sitting.epoch, sitting.heard) == (3, {2, 3})


@pytest.mark.parametrize("compared", ["target", "epoch-000"])
def test_comparing_leaves_the_verdict_where_it_was_and_says_so(compared):
    sitting = listening()
    assert sitting.listen(listened(compared, epoch_002=1.5), "passage", 0, WORDS) == compared
    assert (sitting.epoch, sitting.heard) == (2, {2})
    assert "epoch you heard before" in review.bound_to(2, compared)
    assert review.bound_to(2, "epoch-002") == review.bound_to(2, None) == "The verdict is on what you hear."
    assert review.bound_to(None, None) == ""


def test_a_sitting_that_has_heard_nothing_begins_nowhere():
    sitting = Sitting(epoch=4)
    assert sitting.listen(Listened(), "passage", 0, WORDS) is None
    assert (sitting.epoch, sitting.heard) == (4, set())
    assert "Listen to epoch 4 first" in sitting.missing(["good"], "ann")
    sitting.listen(listened("epoch-004", epoch_004=0.0), "passage", 0, WORDS)
    assert "Listen to epoch 4 first" in sitting.missing(["good"], "ann")


def test_what_is_missing_is_said_in_words():
    assert listening().missing(["good"], "ann") == ""
    assert "what you hear" in listening().missing([], "ann")
    assert "who is listening" in listening().missing(["good"], "")
    assert "no trained epoch" in listening(epoch=None).missing(["good"], "ann")


def test_tagged_words_are_those_of_the_judged_epoch_over_all_texts():
    sitting = listening()
    tags = {"epoch-002": {"2": "stretched", "6": "mangled"}, "epoch-001": {"0": "dropped"}, "target": {"1": "dropped"}}
    sitting.listen(listened("epoch-002", tags, epoch_002=1.0), "passage", 0, WORDS)
    sitting.listen(listened("epoch-002", {"epoch-002": {"0": "dropped"}}, epoch_002=1.0), "one", 0, ["Cup", "up."])
    assert sitting.words() == {"cup": "dropped", "path": "mangled"}  # of two faults of "cup" the graver
    assert sitting.tagged("new", "one", 0) == {"new/epoch-002": {"0": "dropped"}}
    sitting.listen(listened("epoch-002", epoch_002=1.0), "one", 0, ["Cup", "up."])  # taken back
    assert sitting.words() == {"cup": "stretched", "path": "mangled"}


def test_after_a_verdict_the_player_begins_anew_at_the_next_epoch():
    sitting = listening()
    before = sitting.token("run", "key", "one", 0)
    sitting.save(3, "Saved.")
    assert (sitting.epoch, sitting.told) == (3, "Saved.")
    assert sitting.token("run", "key", "one", 0) != before
    sitting.save(None, "Saved.")
    assert sitting.epoch == 3


def test_the_next_epoch_is_a_later_one_then_an_earlier_one_never_the_base():
    said = {number: verdict_on(number, "good") for number in (2, 4)}
    assert review.next_unjudged([0, 1, 2, 3, 4, 5], said, 2) == 3
    assert review.next_unjudged([0, 1, 2, 3, 4], said, 3) == 1
    assert review.next_unjudged([0, 2, 4], said, None) is None
    assert review.next_unjudged([0, 1, 2], {}, None) == 1


def test_only_the_listeners_own_last_word_counts_as_judged():
    said = [verdict_on(1, "good"), verdict_on(1, "mangled"), verdict_on(2, "good", listener="bob")]
    assert {epoch: verdict.heard for epoch, verdict in review.judged_by(" ann ", said).items()} == {1: ("mangled",)}
    assert review.judged_by("", said) == {}


# What is shown beside it


def test_labels_and_gates_say_what_failed():
    evidence = evidence_of(HOT)
    judged = {1: verdict_on(1, "mangled")}
    assert review.clip_label("target", evidence, judged) == "real speaker"
    assert review.clip_label("epoch-000", evidence, judged) == "base"
    assert review.clip_label("epoch-001", evidence, judged) == "epoch 1 ✓ ✗"
    assert review.clip_label("epoch-002", evidence, judged) == "epoch 2 ✗"
    assert set(review.failed_gates(evidence, 2)) == {"wer"}
    assert review.failed_gates(evidence_of(HOT, measured=False), 2) == {}


def test_measures_are_told_and_their_absence_too():
    assert review.measured_text(evidence_of(CONSTANT), 3).startswith("similarity 0.784 · WER 2.0%")
    assert review.measured_text(evidence_of(CONSTANT, measured=False), 3) == "Not measured yet."
    assert review.measured_text(evidence_of(CONSTANT), 99) == ""


def test_every_category_says_the_move_that_follows():
    moves = review.implied_moves(evidence_of(CONSTANT), 6)
    assert list(moves) == list(CATEGORIES)
    assert moves["mangled"].startswith("rewind to epoch ")
    assert (moves["good"], moves["wrong-direction"], moves["feature-missing"]) == ("ship", "audit-data", "train-more")
    assert review.implied_moves(evidence_of(CONSTANT), 2)["no-difference"] == "listen to epoch 6 first"
    assert review.implied_moves(evidence_of(HOT), 1)["mangled"] == "lower-lr-continue from the base"


def test_markers_are_marked_in_the_text_and_asked_for_whatever_the_text(place):
    probe = load_probe(place.root / "configs/probes/small.yaml")
    assert [(word.text, word.marker) for word in review.transcript(WORDS, probe)][4:] == [
        ("the", None),
        ("grass", "BATH"),
        ("path,", "BATH"),
    ]
    assert review.marker_labels(probe, WORDS) == {"BATH": "BATH: grass, path", "FOOT": "FOOT: put"}
    assert review.marker_labels(probe, ["nothing"]) == {"BATH": "BATH: not here", "FOOT": "FOOT: not here"}
    assert review.marker_labels(None, WORDS) == {}
    control = probe.model_copy(update={"markers": [probe.markers[0].model_copy(update={"role": "control"})]})
    assert {word.marker for word in review.transcript(WORDS, control)} == {None}
    assert review.marker_labels(control, WORDS) == {}


def test_what_was_saved_is_said_with_what_comes_next():
    said = verdict_on(2, "mangled", "feature-missing")
    assert review.saved_text(said, 3) == "Saved: epoch 2, mangled, feature-missing. Next: epoch 3."
    assert review.saved_text(said, None) == "Saved: epoch 2, mangled, feature-missing."
    assert review.progress_text([1, 2, 3], {2: said}) == "1 of 3 epochs judged."
    assert review.progress_text([2], {0: said, 2: said}).startswith("Every epoch that can be heard is judged")
    assert review.progress_text([], {}) == "0 of 0 epochs judged."
