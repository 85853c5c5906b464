"""Which voices a server opens: shipped packages, checked, and epochs of runs."""

from __future__ import annotations

from pathlib import Path

import pytest

import shipping
from finished_run import CONSTANT, make_run
from humming import TEXTS, Hum, humming_workspace, rendered
from tts_train.backends import BACKENDS, piper
from tts_train.errors import ConfigError, InputUnusable, UsageError
from tts_train.serve.voices import open_voices
from tts_train.work.ship import ship
from tts_train.workspace import Workspace


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A run of two epochs, the second of them shipped."""
    shipping.workers_in_this_process(monkeypatch)
    monkeypatch.setattr(piper, "load_speaker", Hum)
    place = humming_workspace(tmp_path / "workspace")
    run = make_run(place, "a", CONSTANT, epochs=2, base="bases/joe.onnx", measured=False)
    for number in (1, 2):
        rendered(run, number, place)
    ship(place, "a", 2)
    return place


def test_a_package_and_its_epoch_speak_alike(place: Workspace) -> None:
    voices = open_voices(place, [str(place.voices / "a-epoch-002"), "a:2"])

    assert list(voices) == ["a-epoch-002", "a:2"]
    said = []
    for voice in voices.values():
        assert voice.epoch_folder
        speaker = Hum(voice.base, Path(voice.epoch_folder), voice.threads, voice.facts)
        said.append(speaker.say(TEXTS["short"], voice.knobs, voice.seed).audio.samples.tobytes())
    assert said[0] == said[1]
    assert [voice.consent_basis for voice in voices.values()] == ["own voice", "own voice"]
    assert all(str(place.root) not in str(voice.told()) for voice in voices.values())


def test_the_base_is_epoch_0_and_the_cpu_can_be_asked_for(place: Workspace) -> None:
    [voice] = open_voices(place, ["a:0"], cpu=True).values()

    assert (voice.epoch_folder, voice.facts["device"]) == (None, "cpu")
    assert (voice.knobs, voice.environment) == (dict(BACKENDS["piper"].knobs), "skill")


def test_what_names_no_voice_is_told(place: Workspace) -> None:
    for target, error, told in (
        ("a", UsageError, "neither a shipped voice nor RUN:EPOCH"),
        ("b:1", InputUnusable, "no run 'b'"),
        ("a:7", ConfigError, "no epoch 7"),
        ("../a:1", UsageError, "neither"),
    ):
        with pytest.raises(error, match=told):
            open_voices(place, [target])
    with pytest.raises(UsageError, match="two voices are called"):
        open_voices(place, ["a:1", "a:1"])


def test_a_package_with_a_name_that_would_break_metrics_is_not_served(place: Workspace) -> None:
    shipping.reseal(place.voices / "a-epoch-002", name='ann"} 1 forged')
    with pytest.raises(InputUnusable, match="not one"):
        open_voices(place, ["a-epoch-002"])


def test_a_damaged_package_is_not_served(place: Workspace) -> None:
    with (place.voices / "a-epoch-002/epoch/weights.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputUnusable, match="damaged"):
        open_voices(place, ["a-epoch-002"])
