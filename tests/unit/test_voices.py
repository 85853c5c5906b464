"""Voices that travel: packed, imported and checked elsewhere, listed, removed; what is unsafe never gets in."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shipping
from finished_run import CONSTANT, make_run, run_script
from humming import TEXTS, Hum, humming_workspace, rendered
from tts_train.backends import piper
from tts_train.errors import Busy, ConfigError, InputUnusable, Unavailable, UsageError
from tts_train.files import locked, read_json, sha256_file, write_json
from tts_train.review.lineage import lineage
from tts_train.work import speak, voices, voices_check, voices_import, watermark
from tts_train.work.export import export
from tts_train.work.prune import prune
from tts_train.work.ship import ship
from tts_train.work.voice_package import open_voice
from tts_train.workspace import Workspace

NAME = "a-epoch-002"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with one shipped voice; epochs hum."""
    shipping.workers_in_this_process(monkeypatch)
    monkeypatch.setattr(piper, "load_speaker", Hum)
    workspace = humming_workspace(tmp_path / "workspace")
    run = make_run(workspace, "a", CONSTANT, epochs=2, base="bases/joe.onnx", measured=False)
    rendered(run, 2, workspace)
    ship(workspace, "a", 2)
    return workspace


@pytest.fixture
def elsewhere(tmp_path: Path) -> Workspace:
    (tmp_path / "elsewhere").mkdir()
    return Workspace(tmp_path / "elsewhere")


@pytest.fixture
def archive(place: Workspace, tmp_path: Path) -> Path:
    voices.pack(place, NAME, tmp_path / "voice.zip")
    return tmp_path / "voice.zip"


def infer(workspace: Workspace, target: Path | str, **changes: Any) -> dict[str, Any]:
    choices = {"text": TEXTS["short"], "epoch": None, "seed": None, "setting": "{}", **changes}
    return speak.infer(workspace, str(target), workspace.root / "said.wav", **choices)


def whole(workspace: Workspace) -> list[str]:
    return [path.name for path in workspace.imported_voices.glob("[!.]*")]


# --- there and back


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_voice_travels_and_says_there_what_was_judged(
    place: Workspace, archive: Path, elsewhere: Workspace, as_folder: bool
) -> None:
    judged = read_json(place.voices / NAME / "voice.json")["verification"]["sha256"]
    sums = (place.voices / NAME / "SHA256SUMS").read_bytes()
    given = shutil.move(place.voices / NAME, elsewhere.root / "usb stick") if as_folder else archive
    shutil.rmtree(place.root)

    told = voices_import.import_voice(elsewhere, Path(given))

    assert (told["name"], told["already"], told["run"], told["epoch"]) == (NAME, False, "a", 2)
    assert (told["voice"], told["consent_basis"]) == (str(elsewhere.imported_voices / NAME), "own voice")
    assert (Path(told["voice"]) / "SHA256SUMS").read_bytes() == sums
    said = infer(elsewhere, NAME)
    assert (said["audio_sha256"], said["as_judged"]) == (judged, True)
    [row] = voices.list_voices(elsewhere, verify=True)["voices"]
    assert (row["name"], row["kind"], row["target"], row["problem"]) == (NAME, "imported", NAME, None)
    assert (row["licence"], row["bytes"]) == ("CC0-1.0", told["bytes"])


def test_a_zip_has_one_folder_of_what_is_listed(place: Workspace, archive: Path, tmp_path: Path) -> None:
    (place.voices / NAME / "notes.txt").write_text("mine")
    voices.pack(place, str(place.voices / NAME), tmp_path / "again.zip")

    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    names = set(zipfile.ZipFile(archive).namelist())
    listed = set(read_json(place.voices / NAME / "voice.json")["files"])
    assert names == {f"{NAME}/{name}" for name in listed | {"voice.json", "SHA256SUMS"}}


def test_the_same_voice_again_stays_and_a_damaged_copy_is_made_good(elsewhere: Workspace, archive: Path) -> None:
    first = voices_import.import_voice(elsewhere, archive)
    assert voices_import.import_voice(elsewhere, archive)["already"] is True

    weights = Path(first["voice"]) / "epoch/weights.safetensors"
    weights.write_bytes(b"xy")
    assert voices.list_voices(elsewhere)["voices"][0]["problem"].startswith("epoch/weights.safetensors: it has 2 bytes")
    assert voices_import.import_voice(elsewhere, archive)["already"] is False
    open_voice(Path(first["voice"]))


def test_an_imported_voice_says_nothing_of_runs_that_are_here(place: Workspace, archive: Path, tmp_path: Path) -> None:
    other = humming_workspace(tmp_path / "other")
    make_run(other, "a", CONSTANT, epochs=3, base="bases/joe.onnx", measured=False)
    voices_import.import_voice(other, archive)

    assert prune(other, "a", keep="3")["prune"] == [1, 2]
    assert NAME not in str(lineage(other))
    assert infer(other, NAME)["voice_package"] == NAME


def test_what_lies_beside_the_listed_files_stays_out(archive: Path, elsewhere: Workspace) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        for name in ("__MACOSX/._x", f"{NAME}/.DS_Store", f"{NAME}/epoch/pytorch_model.bin", "setup.py"):
            file.writestr(name, b"evil")

    folder = Path(voices_import.import_voice(elsewhere, archive)["voice"])

    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == set(read_json(folder / "voice.json")["files"]) | {"voice.json", "SHA256SUMS"}


# --- names


def test_a_name_is_taken_once(place: Workspace, archive: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="shipped here is called"):
        voices_import.import_voice(place, archive)
    with pytest.raises(UsageError, match="a run is called 'a'"):
        voices_import.import_voice(place, archive, "a")
    voices_import.import_voice(place, archive, "ann")
    make_run(place, "b", CONSTANT, epochs=2, base="bases/joe.onnx", measured=False)
    rendered(make_run(place, "b", CONSTANT, epochs=1, base="bases/joe.onnx", measured=False), 1, place)
    voices.pack(place, ship(place, "b", 1)["voice"], tmp_path / "b.zip")
    with pytest.raises(UsageError, match="another voice is called 'ann'"):
        voices_import.import_voice(place, tmp_path / "b.zip", "ann")
    assert read_json(place.imported_voices / "ann/voice.json")["name"] == NAME


@pytest.mark.parametrize("name", ["../x", "A", "", "x" * 65, "x\n", ".x", "a/b", "-x"])
def test_a_name_is_a_plain_name(archive: Path, elsewhere: Workspace, name: str) -> None:
    with pytest.raises(ConfigError, match="no name for a voice"):
        voices_import.import_voice(elsewhere, archive, name)

    assert not whole(elsewhere)


def test_a_package_does_not_choose_where_it_goes(place: Workspace, elsewhere: Workspace) -> None:
    shipping.reseal(place.voices / NAME, name="../../evil")

    with pytest.raises(ConfigError, match="no name for a voice"):
        voices_import.import_voice(elsewhere, place.voices / NAME)


# --- what nobody should trust


def add(folder: Path, name: str, content: bytes) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    listed = {"sha256": "0" * 64, "bytes": 0}
    shipping.reseal(folder, files={**read_json(folder / "voice.json")["files"], name: listed})


def list_too(folder: Path, name: str) -> None:
    files = read_json(folder / "voice.json")["files"]
    shipping.reseal(folder, files={**files, name: {"sha256": "0" * 64, "bytes": 2}})


def flip(folder: Path) -> None:
    path = folder / "epoch/weights.safetensors"
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))


def climb(folder: Path) -> None:
    (folder.parent / "secret.json").write_text("{}")
    list_too(folder, "../secret.json")


def link(folder: Path) -> None:
    (folder.parent / "secret.json").write_text("{}")
    (folder / "config.yaml").unlink()
    (folder / "config.yaml").symlink_to(folder.parent / "secret.json")
    shipping.reseal(folder)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /nowhere/ran",)


UNSAFE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a flipped bit": (flip, "its content is not what was packed"),
    "a name that climbs": (climb, "leads out of the package"),
    "a name that climbs and comes back": (lambda folder: list_too(folder, "epoch/../voice.json"), "leads out"),
    "itself": (lambda folder: list_too(folder, "voice.json"), "no such name"),
    "a file below a file": (lambda folder: list_too(folder, "config.yaml/x"), "no such name"),
    "a link out": (link, "missing, or leads out"),
    "a pickle": (lambda folder: add(folder, "epoch/pytorch_model.bin", pickle.dumps(Evil())), "could run code"),
    "a pickle among a family's own": (lambda folder: add(folder, "base/model.pth", pickle.dumps(Evil())), "would call"),
    "a program": (lambda folder: add(folder, "epoch/modeling.py", b"import os"), "could run code"),
    "an escape in a terminal": (lambda folder: shipping.reseal(folder, run="\x1b[2J"), "String should match"),
    "another format": (lambda folder: shipping.reseal(folder, format="tts-train-voice/9"), "this tts-train reads"),
    "other sums": (lambda folder: (folder / "SHA256SUMS").write_text(""), "voice.json: its content"),
    "a long list": (lambda folder: (folder / "voice.json").write_bytes(b" " * 9_000_000), "are allowed"),
}


@pytest.mark.parametrize("as_folder", [False, True])
@pytest.mark.parametrize("how", UNSAFE)
def test_what_is_unsafe_does_not_get_in(
    place: Workspace, elsewhere: Workspace, monkeypatch: pytest.MonkeyPatch, how: str, as_folder: bool
) -> None:
    spoil, message = UNSAFE[how]
    folder = place.voices / NAME
    monkeypatch.setattr(piper, "PICKLES", ("model.pth",), raising=False)
    monkeypatch.setattr(piper, "load_speaker", lambda *_: pytest.fail("it was read"))
    spoil(folder)
    given = folder
    if not as_folder:
        given = elsewhere.root / "evil.zip"
        with zipfile.ZipFile(given, "w") as file:
            for path in folder.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    file.write(path, f"x/{path.relative_to(folder).as_posix()}")

    with pytest.raises(InputUnusable) as caught:
        voices_import.import_voice(elsewhere, given)

    told = str([caught.value.message, *map(str, caught.value.problems)])
    assert message in told
    assert ".tmp-" not in told
    assert not whole(elsewhere)


def test_a_killed_import_leaves_no_voice(archive: Path, elsewhere: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(voices_import, "require_harmless", killed)
        with pytest.raises(KeyboardInterrupt):
            voices_import.import_voice(elsewhere, archive)

    assert not whole(elsewhere)
    voices_import.import_voice(elsewhere, archive)


def test_what_a_killed_command_left_is_swept_up_and_no_ship_is_disturbed(place: Workspace, archive: Path) -> None:
    left = place.imported_voices / ".tmp-b.old-7"
    running = place.voices / ".tmp-a-epoch-001.7"
    for folder in (left, running):
        shutil.copytree(place.voices / NAME, folder)

    voices_import.import_voice(place, archive, "ann")

    assert (left.exists(), running.exists()) == (False, True)


def test_one_at_a_time(archive: Path, elsewhere: Workspace) -> None:
    elsewhere.imported_voices.mkdir(parents=True)
    with locked(elsewhere.imported_voices / ".lock"), pytest.raises(Busy):
        voices_import.import_voice(elsewhere, archive)


@pytest.mark.parametrize("names", [[], ["a/b/voice.json"], ["a/voice.json", "b/voice.json"], ["voice.json"]])
def test_a_zip_holds_one_voice(elsewhere: Workspace, names: list[str]) -> None:
    path = elsewhere.root / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, "{}")
            if len(names) > 1:
                file.writestr(name.replace("voice.json", "SHA256SUMS"), "")

    with pytest.raises(InputUnusable, match="voices, expected one"):
        voices_import.import_voice(elsewhere, path)


# --- list, pack, remove


def test_removing_says_first_what_it_takes(place: Workspace, archive: Path) -> None:
    voices_import.import_voice(place, archive, "ann")
    for name, kind in ((NAME, "shipped"), ("ann", "imported")):
        told = voices.remove(place, name)
        assert (told["kind"], told["removed"]) == (kind, False)
        assert Path(told["voice"]).is_dir()
        assert voices.remove(place, name, delete=True)["bytes"] == told["bytes"]
        assert not Path(told["voice"]).exists()
        with pytest.raises(UsageError, match="no voice"):
            voices.remove(place, name, delete=True)
    assert voices.list_voices(place) == {"voices": [], "text": "no voice yet"}


@pytest.mark.parametrize("name", ["../../../../outside", "imported", ".", "", "a"])
def test_only_voices_of_the_workspace_are_removed(place: Workspace, tmp_path: Path, name: str) -> None:
    outside = shutil.copytree(place.voices / NAME, tmp_path / "outside")

    with pytest.raises((UsageError, ConfigError)):
        voices.remove(place, name, delete=True)

    assert outside.is_dir()
    assert (place.voices / NAME).is_dir()


def test_a_voice_that_was_shipped_elsewhere_is_listed_as_such(place: Workspace, tmp_path: Path) -> None:
    shutil.rmtree(place.voices / NAME)
    ship(place, "a", 2, out=tmp_path / "out")

    [row] = voices.list_voices(place)["voices"]
    assert (row["kind"], row["folder"]) == ("elsewhere", str(tmp_path / "out" / NAME))
    with pytest.raises(InputUnusable, match="shipped elsewhere"):
        voices.pack(place, NAME, tmp_path / "x.zip")


def test_a_damaged_voice_is_listed_and_not_packed(place: Workspace, tmp_path: Path) -> None:
    flip(place.voices / NAME)

    assert voices.list_voices(place)["voices"][0]["problem"] is None  # as large as it was
    assert "not what was packed" in voices.list_voices(place, verify=True)["voices"][0]["problem"]
    with pytest.raises(InputUnusable, match="not what was packed"):
        voices.pack(place, NAME, tmp_path / "x.zip")
    with pytest.raises(UsageError, match="is packed as"):
        voices.pack(place, NAME, tmp_path / "x.tar")


def test_the_commands_answer_as_all_do(place: Workspace, elsewhere: Workspace) -> None:
    away = ["--workspace", elsewhere.root]
    packed = run_script("voices", "pack", NAME, elsewhere.root / "a.zip", "--workspace", place.root)
    assert packed["sha256"] == sha256_file(elsewhere.root / "a.zip")
    assert run_script("voices", "import", elsewhere.root / "a.zip", *away)["name"] == NAME
    assert [row["name"] for row in run_script("voices", "list", "--verify", *away)["voices"]] == [NAME]
    assert run_script("voices", "remove", "x", *away, code=2)["kind"] == "usage"
    assert run_script("voices", "import", elsewhere.root / "b.zip", *away, code=65)["kind"] == "input-unusable"


# --- where a recording is from


def test_a_recording_says_where_it_is_from(place: Workspace) -> None:
    before = {
        name: read_json(place.voices / NAME / "voice.json")[name] for name in ("weights_sha256", "dataset_sha256")
    }
    said = infer(place, NAME)

    facts = read_json(place.root / "said.wav.json")
    assert {name: facts[name] for name in before} == before
    assert facts["text_sha256"] == hashlib.sha256(TEXTS["short"].encode()).hexdigest()
    assert (facts["watermark"], facts["created"][:2], facts["audio_sha256"]) == (None, "20", said["audio_sha256"])
    run = infer(place, "a", epoch=2)
    assert (run["dataset_sha256"], run["watermark"]) == (before["dataset_sha256"], None)


def test_the_json_of_a_recording_names_no_folder_of_this_machine(place: Workspace) -> None:
    reference = place.root / "ann.wav"
    reference.write_bytes(b"a recording")
    info = read_json(place.runs / "a/run.json")
    write_json(place.runs / "a/run.json", {**info, "voice": {"reference": "ann.wav"}})

    infer(place, "a", epoch=2)

    assert read_json(place.root / "said.wav.json")["voice"]["reference"] == "ann.wav"
    assert str(place.root) not in (place.root / "said.wav.json").read_text()


def marked(monkeypatch: pytest.MonkeyPatch, state: str = "yes") -> None:
    facts = {"watermark": watermark.NAME, "marked": state, "share": 1.0, "score": 1.0, "spans": [], "audio_seconds": 1}
    monkeypatch.setattr(watermark, "examine", lambda file: facts)
    monkeypatch.setattr(voices_check, "ready", lambda name: name == "skill")


def test_checking_a_recording(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    marked(monkeypatch)
    infer(place, NAME)
    file = place.root / "said.wav"

    told = voices_check.check(place, file)
    assert (told["marked"], told["intact"], told["voice_here"]) == ("yes", True, NAME)
    assert (told["provenance"]["voice_package"], told["provenance"]["text"]) == (NAME, TEXTS["short"])
    assert f"{NAME}, here as {NAME}" in told["text"]

    file.write_bytes(file.read_bytes() + b"\0")
    assert voices_check.check(place, file)["intact"] is False
    (place.root / "said.wav.json").write_text("[1]")
    told = voices_check.check(place, file)
    assert (told["provenance"], told["intact"], told["voice_here"]) == (None, None, None)


def test_a_mark_is_asked_for_and_told(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = []
    monkeypatch.setattr(watermark, "require", lambda: None)
    monkeypatch.setattr(watermark, "mark", lambda audio: heard.append(audio) or audio)

    told = infer(place, NAME, watermark=True)

    assert (len(heard), told["watermark"], told["as_judged"]) == (1, watermark.NAME, False)
    assert told["differs"] == ["watermark"]
    assert infer(place, "a", epoch=2, watermark=True)["watermark"] == watermark.NAME
    infer(place, NAME)
    assert len(heard) == 2


def test_without_the_watermark_s_package_nothing_is_spoken(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise Unavailable("a watermark needs the package resemble-perth", hint="run.sh setup skill")

    monkeypatch.setattr(watermark, "require", absent)
    with pytest.raises(Unavailable) as caught:
        infer(place, NAME, watermark=True)

    assert caught.value.exit_code == 69
    assert not (place.root / "said.wav").exists()


# --- for other programs


def test_a_voice_is_exported_without_its_run(
    place: Workspace, archive: Path, elsewhere: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Any, ...]] = []
    monkeypatch.setattr(piper, "export_voice", lambda *arguments: given.append(arguments) or {"onnx": "a.onnx"})
    voices_import.import_voice(elsewhere, archive)
    shutil.rmtree(place.root)

    told = export(elsewhere, NAME, elsewhere.root / "out", epoch=None)

    folder = elsewhere.imported_voices / NAME
    [(base, epoch, out, name, _)] = given
    assert (base, epoch, out, name) == (str(folder / "base/joe.onnx"), folder / "epoch", elsewhere.root / "out", "a")
    assert (told["voice_package"], told["epoch"]) == (NAME, 2)
    assert "warnings" not in told
    with pytest.raises(UsageError, match="one epoch"):
        export(elsewhere, NAME, elsewhere.root / "out", epoch=2)
    flip(folder)
    with pytest.raises(InputUnusable, match="not what was packed"):
        export(elsewhere, NAME, elsewhere.root / "out", epoch=None)
    assert len(given) == 1
