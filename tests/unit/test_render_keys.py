"""Render keys: what changes a render changes the key, what does not leaves it; different keys are not compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from tts_train.backends import backend
from tts_train.errors import ConfigError, InputUnusable
from tts_train.files import write_json
from tts_train.probe.keys import RenderKey, render_key, require_one_key, seeded, write_key
from tts_train.probe.probe import Gates, Item, Marker, Probe, load_probe

SHIPPED = Path(__file__).parents[2] / "configs/probes/northern-english.yaml"
PROBE = Probe(name="p", language="en", items=[Item(id="a", text="Look at the path.")])


def _key(**changes: object) -> RenderKey:
    return render_key(PROBE.model_copy(update=changes), backend("piper"), threads=2)


def test_markers_and_thresholds_never_change_the_key() -> None:
    marked = _key(markers=[Marker(set="BATH", words=["path"])], gates=Gates(max_silence_ratio=0.1), accent="other")
    assert marked.name == _key().name


@pytest.mark.parametrize(
    "changed",
    [
        _key(items=[Item(id="a", text="Look at the grass.")]),
        _key(items=[Item(id="b", text="Look at the path.")]),
        _key(seeds=[1]),
        render_key(PROBE, backend("piper"), threads=1),
    ],
)
def test_texts_seeds_and_threads_change_the_key(changed: RenderKey) -> None:
    assert changed.name != _key().name


def test_renders_of_the_shipped_probe_by_piper_are_still_found() -> None:
    """The key that the demo's first renders lie under, made while the probe itself said `seeds: [0]`."""
    assert render_key(load_probe(SHIPPED), backend("piper"), threads=2).name == "7cd4dc4d74080351"


@pytest.mark.parametrize(("family", "expected"), [("piper", [0]), ("qwen3", [0, 1]), ("xtts", [0, 1])])
def test_a_family_that_samples_speaks_twice_unless_told_otherwise(family: str, expected: list[int]) -> None:
    own = PROBE.model_copy(update={"seeds": [3]})
    assert seeded(PROBE, backend(family)).seeds == expected
    assert seeded(own, backend(family)).seeds == [3]
    assert seeded(own, backend(family), [5, 6]).seeds == [5, 6]
    assert render_key(PROBE, backend(family), 1).seeds == tuple(expected)
    assert render_key(seeded(PROBE, backend(family)), backend(family), 1) == render_key(PROBE, backend(family), 1)


def test_a_new_way_of_speaking_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _key().name
    monkeypatch.setattr("tts_train.backends.piper.INFERENCE_VERSION", 99, raising=False)
    assert _key().name != before


def test_comparing_renders_of_different_keys_is_refused() -> None:
    assert require_one_key(["aa", "aa"]) == "aa"
    with pytest.raises(ConfigError, match="2 keys"):
        require_one_key(["aa", "bb"])
    with pytest.raises(ConfigError, match="0 keys"):
        require_one_key([])


def test_a_folder_whose_note_is_of_another_render_is_refused(tmp_path: Path) -> None:
    write_key(tmp_path, _key())
    write_key(tmp_path, _key())
    write_json(tmp_path / "key.json", _key(seeds=[1]).content())
    with pytest.raises(InputUnusable, match="does not describe"):
        write_key(tmp_path, _key())
