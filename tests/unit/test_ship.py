"""Shipping: nothing in a package but what was judged, every reason against it at once, nothing read unchecked."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import shipping
from finished_run import CONSTANT, KEY, make_run, run_script
from humming import CARD, SETTING, TEXTS, Hum, humming_workspace, rendered
from tts_train.backends import BACKENDS, piper
from tts_train.backends.licences import UNKNOWN, from_piper_card, named_in
from tts_train.dataset import load_card
from tts_train.errors import ConfigError, DiskError, InputUnusable, Unavailable, UsageError
from tts_train.files import read_json, sha256_file, write_json
from tts_train.review.record.store import Store, database
from tts_train.review.record.trials import Judgement
from tts_train.review.record.verdicts import HARM, Verdict
from tts_train.training.run import RunFolder
from tts_train.work import ship_case, speak, voice_build
from tts_train.work.export import export
from tts_train.work.prune import prune
from tts_train.work.ship import ship
from tts_train.work.train import plan
from tts_train.work.voice_package import FORMAT, find_voice, open_voice, read_voice, shipped
from tts_train.workspace import Workspace

WITHOUT_CONSENT = CARD.replace("own voice", "none") + "no_consent_because: a test of an idea, deleted afterwards\n"
WER_FAILED = {"name": "wer", "passed": False, "value": 0.3, "limit": 0.05, "detail": "WER 30.0%: 'cup' dropped"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with a card, a base voice and no run; epochs hum."""
    shipping.workers_in_this_process(monkeypatch)
    monkeypatch.setattr(piper, "load_speaker", Hum)
    return humming_workspace(tmp_path / "workspace")


@pytest.fixture
def run(place: Workspace) -> RunFolder:
    """Two epochs, rendered and measured; nobody has said anything."""
    folder = make_run(place, "a", CONSTANT, epochs=2, base="bases/joe.onnx", measured=False)
    for number in (1, 2):
        rendered(folder, number, place)
    return folder


def say(place: Workspace, *heard: str, listener: str = "ann", epoch: int = 2, **more: Any) -> None:
    with Store(database(place)) as store:
        store.add_verdict(Verdict(run="a", epoch=epoch, listener=listener, heard=heard, **more))


def refused(place: Workspace, **choices: Any) -> InputUnusable:
    with pytest.raises(InputUnusable) as caught:
        ship(place, "a", 2, **choices)
    assert not place.voices.exists() or not list(place.voices.iterdir())
    assert caught.value.exit_code == 65
    return caught.value


def change_info(run: RunFolder, **facts: Any) -> None:
    write_json(run.path / "run.json", {**run.info(), **facts})


# --- the package


def test_a_package_holds_everything_and_says_what_it_is(run: RunFolder, place: Workspace) -> None:
    say(place, "good")

    told = ship(place, "a", 2)

    folder = place.voices / "a-epoch-002"
    assert told["voice"] == str(folder)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    papers = {"README.md", "LICENSE.md", "config.yaml", "dataset.yaml", "metrics.json", "verdicts.json"}
    heart = {"epoch/weights.safetensors", "epoch/epoch.json", "base/joe.onnx", "base/joe.onnx.json", "base/MODEL_CARD"}
    assert names == papers | heart | {"voice.json", "SHA256SUMS"}
    manifest = read_json(folder / "voice.json")
    assert set(manifest["files"]) == names - {"voice.json", "SHA256SUMS"}
    assert (manifest["run"], manifest["epoch"], manifest["backend"]) == ("a", 2, "piper")
    assert (manifest["knobs"], manifest["seeds"], manifest["threads"]) == (SETTING.knobs, [0], 2)
    assert (manifest["render_key"], manifest["consent_basis"], manifest["licence"]) == (KEY, "own voice", "CC0-1.0")
    assert (manifest["base"]["name"], manifest["base"]["licence"]["name"]) == ("joe", "CC0-1.0")
    assert (manifest["confirmed"], manifest["confirmed_by"], manifest["overrides"]) == (True, ["ann"], None)
    assert (manifest["verified"], manifest["verification"]["item"]) == (True, "short")
    assert manifest["weights_sha256"] == manifest["files"]["epoch/weights.safetensors"]["sha256"]
    metrics = read_json(folder / "metrics.json")
    assert (metrics["epoch"]["wer"], metrics["training"]["epoch"]) == (0.02, 2)
    assert "items" not in metrics["epoch"]
    assert read_json(folder / "verdicts.json")["verdicts"][0]["heard"] == ["good"]
    assert (folder / "dataset.yaml").read_text() == CARD


def test_sums_are_those_of_sha256sum(run: RunFolder, place: Workspace) -> None:
    ship(place, "a", 2)

    folder = place.voices / "a-epoch-002"
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert sums == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if name != "SHA256SUMS"
    }


def test_nothing_in_a_package_names_this_machine(run: RunFolder, place: Workspace) -> None:
    info = read_json(run.epoch(2).folder / "epoch.json")
    write_json(run.epoch(2).folder / "epoch.json", {**info, "source": {"path": str(place.root / "private")}})
    config = run.info()["config"]
    probe = {"file": str(place.root / "configs/probes/small.yaml"), "when": "end"}
    change_info(run, config={**config, "base": str(place.root / "bases/joe.onnx"), "probe": probe})

    ship(place, "a", 2)

    for path in (place.voices / "a-epoch-002").rglob("*"):
        assert path.is_dir() or str(place.root).encode() not in path.read_bytes(), path


def test_files_are_copies(run: RunFolder, place: Workspace) -> None:
    ship(place, "a", 2)

    assert {path.stat().st_nlink for path in (place.voices / "a-epoch-002").rglob("*") if path.is_file()} == {1}


def test_the_model_card_is_read_by_the_hub_and_by_people(run: RunFolder, place: Workspace) -> None:
    say(place, "good", note="just right")
    ship(place, "a", 2)

    text = (place.voices / "a-epoch-002/README.md").read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    assert (head["license"], head["license_link"], head["pipeline_tag"]) == ("other", "LICENSE.md", "text-to-speech")
    assert head["language"] == ["en"]
    assert "base_model" not in head  # a folder of this machine is no model of the hub
    for told in ("Verified", "just right", "own voice", "CC0-1.0 (https://example.org/joe)", "gate `runaway` passed"):
        assert told in text
    assert "Not confirmed" not in text
    assert "own voice" in (place.voices / "a-epoch-002/LICENSE.md").read_text()


def test_what_people_wrote_stays_on_its_line(run: RunFolder, place: Workspace) -> None:
    say(place, "good", note="fine\n# Licence\n<script>alert(1)</script>")
    (place.datasets / "demo/dataset.yaml").write_text(CARD.replace("a book", '"a\\n---\\nlicense: mit"'))

    ship(place, "a", 2)

    text = (place.voices / "a-epoch-002/README.md").read_text()
    assert text.count("\n---\n") == 1
    assert "\n# Licence" not in text
    assert "<script" not in text


def test_an_older_package_is_replaced_and_nothing_else_is(run: RunFolder, place: Workspace, tmp_path: Path) -> None:
    ship(place, "a", 2)
    (place.voices / "a-epoch-002/epoch/weights.safetensors").write_bytes(b"damaged")
    ship(place, "a", 2)
    assert open_voice(place.voices / "a-epoch-002").manifest.run == "a"

    mine = tmp_path / "out/a-epoch-002"
    mine.mkdir(parents=True)
    (mine / "diary.txt").write_text("dear")
    with pytest.raises(UsageError, match="no voice package"):
        ship(place, "a", 2, out=tmp_path / "out")
    assert (mine / "diary.txt").read_text() == "dear"


def test_a_package_that_says_something_else_is_not_published(run: RunFolder, place: Workspace) -> None:
    ship(place, "a", 2)
    before = (place.voices / "a-epoch-002/voice.json").read_bytes()
    path = run.path / f"renders/{KEY}/epoch-002/render.json"
    noted = read_json(path)
    write_json(path, {**noted, "items": [{**item, "sha256": "0" * 64} for item in noted["items"]]})

    with pytest.raises(InputUnusable, match="does not say what was judged"):
        ship(place, "a", 2, because="never mind")

    assert (place.voices / "a-epoch-002/voice.json").read_bytes() == before
    assert [path.name for path in place.voices.iterdir()] == ["a-epoch-002"]


def test_changed_weights_are_not_shipped(run: RunFolder, place: Workspace) -> None:
    (run.epoch(2).folder / "weights.safetensors").write_bytes(b"others")

    assert "not those that were published" in refused(place).message


def test_a_full_disk_is_said_before_anything_is_copied(
    run: RunFolder, place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1000))
    monkeypatch.setattr(shutil, "copyfile", lambda *_: pytest.fail("something was copied"))

    with pytest.raises(DiskError):
        ship(place, "a", 2)


def test_a_killed_ship_leaves_no_package(run: RunFolder, place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(voice_build, "_verify", killed)
        with pytest.raises(KeyboardInterrupt):
            ship(place, "a", 2)

    assert not list(place.voices.iterdir())
    assert shipped(place, "a") == {}


# --- what speaks against it


def without_consent(run: RunFolder, place: Workspace) -> None:
    path = place.datasets / "demo/dataset.yaml"
    path.write_text(WITHOUT_CONSENT)


def without_card(run: RunFolder, place: Workspace) -> None:
    (place.datasets / "demo/dataset.yaml").unlink()


def gate_failed(run: RunFolder, place: Workspace) -> None:
    rendered(run, 2, place, [WER_FAILED])


def base_fails_too(run: RunFolder, place: Workspace) -> None:
    gate_failed(run, place)
    shipping.measured(run.path / f"renders/{KEY}/epoch-000", 0, [WER_FAILED])


def not_measured(run: RunFolder, place: Workspace) -> None:
    (run.path / f"renders/{KEY}/epoch-002/measures.json").unlink()


def not_rendered(run: RunFolder, place: Workspace) -> None:
    shutil.rmtree(run.path / "renders")


def stale(run: RunFolder, place: Workspace) -> None:
    path = run.path / f"renders/{KEY}/epoch-002/render.json"
    write_json(path, {**read_json(path), "weights_sha256": "1" * 64})


def older_speech(run: RunFolder, place: Workspace) -> None:
    path = run.path / f"renders/{KEY}/key.json"
    write_json(path, {**read_json(path), "inference_version": 0})


def other_voice(run: RunFolder, place: Workspace) -> None:
    change_info(run, voice={"language": "en"})


AGAINST: list[tuple[Callable[[RunFolder, Workspace], None], str, str]] = [
    (without_consent, "consent", "Ann has not consented"),
    (without_card, "consent", "no card says"),
    (gate_failed, "gates", "gate wer failed: WER 30.0%: 'cup' dropped"),
    (base_fails_too, "gates", "the base fails it as well"),
    (not_measured, "measures", "not rendered and measured"),
    (not_rendered, "measures", "not rendered and measured"),
    (stale, "measures", "other weights spoke"),
    (older_speech, "measures", "older way of speaking"),
    (other_voice, "measures", "other facts of the voice"),
]


@pytest.mark.parametrize(("spoil", "kind", "message"), AGAINST, ids=[row[0].__name__ for row in AGAINST])
def test_what_speaks_against_it_refuses_and_a_reason_overrides_it(
    run: RunFolder, place: Workspace, spoil: Callable[[RunFolder, Workspace], None], kind: str, message: str
) -> None:
    spoil(run, place)

    assert message in refused(place).message
    told = ship(place, "a", 2, because="it is for a museum")

    assert [item["kind"] for item in told["refused"]] == [kind]
    manifest = read_json(Path(told["voice"]) / "voice.json")
    assert manifest["overrides"]["because"] == "it is for a museum"
    assert message in manifest["overrides"]["refusals"][0]["message"]
    card = (Path(told["voice"]) / "README.md").read_text()
    assert "it is for a museum" in card
    assert message in card
    assert manifest["verified"] is (None if kind == "measures" else True)
    assert ("NOT VERIFIED" in told["text"]) is (kind == "measures")
    open_voice(Path(told["voice"]))


def test_measures_of_other_weights_are_not_passed_off_as_this_epoch_s(run: RunFolder, place: Workspace) -> None:
    stale(run, place)
    told = ship(place, "a", 2, because="it is for a museum")

    assert read_json(Path(told["voice"]) / "metrics.json")["epoch"] is None
    assert "Nothing was measured" in (Path(told["voice"]) / "README.md").read_text()


@pytest.mark.parametrize("heard", sorted(HARM))
def test_a_listener_who_hears_harm_refuses(run: RunFolder, place: Workspace, heard: str) -> None:
    say(place, "good", listener="bob")
    say(place, heard)

    assert f"ann heard epoch 2 as {heard}" in refused(place).message
    told = ship(place, "a", 2, because="ann heard the wrong file")
    assert (told["confirmed"], told["confirmed_by"]) == (False, [])


def test_everything_is_said_at_once(run: RunFolder, place: Workspace) -> None:
    without_consent(run, place)
    gate_failed(run, place)
    say(place, "mangled")

    problems = [problem.message for problem in refused(place).problems]

    assert [problem.partition(":")[0] for problem in problems] == ["consent", "gates", "verdict"]


def test_a_verdict_that_was_taken_back_refuses_nothing(run: RunFolder, place: Workspace) -> None:
    say(place, "mangled")
    say(place, "good")
    say(place, "mangled", epoch=1, listener="bob")

    assert ship(place, "a", 2)["confirmed_by"] == ["ann"]


def test_a_verdict_on_other_weights_says_nothing_of_these(run: RunFolder, place: Workspace) -> None:
    say(place, "mangled", weights_sha256="2" * 64)

    assert ship(place, "a", 2)["confirmed"] is False


def test_what_nobody_judged_is_shipped_loudly(run: RunFolder, place: Workspace) -> None:
    told = ship(place, "a", 2)

    assert told["confirmed"] is False
    assert "NOT CONFIRMED" in told["text"]
    assert "Not confirmed by ears" in (Path(told["voice"]) / "README.md").read_text()


def test_a_reason_without_need_is_not_recorded(run: RunFolder, place: Workspace) -> None:
    told = ship(place, "a", 2, because="just in case")

    assert told["because"] is None
    assert read_json(Path(told["voice"]) / "voice.json")["overrides"] is None


@pytest.mark.parametrize("because", ["", "  "])
def test_an_empty_reason_is_none(run: RunFolder, place: Workspace, because: str) -> None:
    with pytest.raises(UsageError, match="because"):
        ship(place, "a", 2, because=because)


def test_pruned_epochs_and_the_base_cannot_be_shipped_for_any_reason(run: RunFolder, place: Workspace) -> None:
    prune(place, "a", keep="last:1", delete=True)

    with pytest.raises(InputUnusable, match="pruned"):
        ship(place, "a", 1, because="please")
    with pytest.raises(UsageError, match="untouched base"):
        ship(place, "a", 0, because="please")
    with pytest.raises(ConfigError, match="no epoch 9"):
        ship(place, "a", 9, because="please")


def test_an_adopted_run_needs_a_card(run: RunFolder, place: Workspace, tmp_path: Path) -> None:
    change_info(run, config={**run.info()["config"], "dataset": "adopted"}, adopted=True)
    assert "no card" in refused(place).message
    card = tmp_path / "card.yaml"
    card.write_text(CARD)

    told = ship(place, "a", 2, card=card)

    assert told["refused"] == []
    assert (Path(told["voice"]) / "dataset.yaml").read_text() == CARD
    card.write_text(WITHOUT_CONSENT)
    with pytest.raises(InputUnusable, match="not consented"):
        ship(place, "a", 2, card=card)


def test_a_second_card_cannot_whitewash_the_first(run: RunFolder, place: Workspace, tmp_path: Path) -> None:
    without_consent(run, place)
    card = tmp_path / "card.yaml"
    card.write_text(CARD)

    with pytest.raises(UsageError, match="has a card"):
        ship(place, "a", 2, card=card)


def test_only_closed_sessions_are_told(run: RunFolder, place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(number: int, first: str, closed: bool) -> Judgement:
        sides = {"first": first, "second": "epoch-000", "x": None, "answer": "first"}
        who = {"session": "s", "kind": "ab", "role": "test", "listener": "ann", "region": "", "item": "short"}
        return Judgement(
            **who, **sides, number=number, seed=0, blind=True, confidence=None, render_key=KEY, closed=closed
        )

    answers = [answer(1, "epoch-002", True), answer(2, "epoch-002", False), answer(3, "epoch-001", True)]
    monkeypatch.setattr(ship_case, "judgements_of", lambda *_: answers)

    told = ship(place, "a", 2)

    assert [row["number"] for row in read_json(Path(told["voice"]) / "verdicts.json")["trials"]] == [1]


def test_a_dry_run_says_all_and_makes_nothing(run: RunFolder, place: Workspace) -> None:
    without_consent(run, place)

    told = ship(place, "a", 2, dry_run=True)

    assert [item["kind"] for item in told["refused"]] == ["consent"]
    assert told["epoch_bytes"] > 0
    assert not place.voices.exists()


# --- renders of a GPU


def on_a_gpu(run: RunFolder, place: Workspace) -> None:
    change_info(run, compute={"device": "cuda"})
    rendered(run, 2, place)


def test_a_gpu_s_render_is_not_verified_where_there_is_none(
    run: RunFolder, place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_gpu(run, place)

    def none_there(*_: object) -> None:
        raise Unavailable("this run speaks on a GPU, and torch sees none")

    monkeypatch.setattr(piper, "load_speaker", none_there)
    told = ship(place, "a", 2)

    assert told["verified"] is None
    assert "torch sees none" in told["verification"]["why"]
    assert "NOT VERIFIED" in told["text"]


def test_without_a_gpu_in_it_what_is_unavailable_is_an_error(
    run: RunFolder, place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_there(*_: object) -> None:
        raise Unavailable("piper-tts is not installed")

    monkeypatch.setattr(piper, "load_speaker", none_there)
    with pytest.raises(Unavailable):
        ship(place, "a", 2)


def test_another_gpu_may_round_otherwise_and_that_is_said(run: RunFolder, place: Workspace) -> None:
    on_a_gpu(run, place)
    path = run.path / f"renders/{KEY}/epoch-002/render.json"
    noted = read_json(path)
    write_json(path, {**noted, "items": [{**item, "sha256": "0" * 64} for item in noted["items"]]})

    told = ship(place, "a", 2)

    assert told["verified"] is False
    assert "round otherwise" in told["text"]


# --- the reference


def with_reference(run: RunFolder, place: Workspace) -> Path:
    reference = place.root / "ann.WAV"
    reference.write_bytes(b"a recording")
    facts = {"language": "en", "reference": "ann.WAV", "reference_sha256": sha256_file(reference)}
    change_info(run, voice=facts)
    rendered(run, 2, place)
    return reference


def test_the_reference_travels_along(run: RunFolder, place: Workspace) -> None:
    with_reference(run, place)

    told = ship(place, "a", 2)

    voice = open_voice(Path(told["voice"]))
    assert voice.manifest.voice.reference == "reference.wav"
    assert Path(voice.facts()["reference"]).read_bytes() == b"a recording"
    assert told["verified"] is True


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"another")])
def test_a_changed_reference_is_refused(run: RunFolder, place: Workspace, spoil: Any) -> None:
    spoil(with_reference(run, place))

    assert "reference" in refused(place, because="never mind").message


# --- speaking from a package


@pytest.fixture
def package(run: RunFolder, place: Workspace, tmp_path: Path) -> Path:
    """A package, away from the workspace it was made in, which is gone."""
    ship(place, "a", 2)
    away = tmp_path / "away"
    shutil.move(place.voices / "a-epoch-002", away)
    shutil.rmtree(place.root)
    return away


@pytest.fixture
def elsewhere(tmp_path: Path) -> Workspace:
    (tmp_path / "elsewhere").mkdir()
    return Workspace(tmp_path / "elsewhere")


def infer(workspace: Workspace, target: Path | str, **changes: Any) -> dict[str, Any]:
    choices = {"text": TEXTS["short"], "epoch": None, "seed": None, "setting": "{}", **changes}
    return speak.infer(workspace, str(target), workspace.root / "said.wav", **choices)


def test_a_package_speaks_anywhere_as_it_was_judged(package: Path, elsewhere: Workspace) -> None:
    judged = read_json(package / "voice.json")["verification"]["sha256"]

    told = infer(elsewhere, package)

    assert (told["audio_sha256"], told["seed"], told["setting"]) == (judged, 0, SETTING.knobs)
    assert (told["as_judged"], told["differs"], told["confirmed"]) == (True, [], False)
    assert sha256_file(elsewhere.root / "said.wav") == judged
    assert read_json(elsewhere.root / "said.wav.json")["voice_package"] == "a-epoch-002"


def test_what_is_not_as_judged_is_said(package: Path, elsewhere: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = infer(elsewhere, package, setting='{"length_scale": 1.5, "noise_w": 0.0, "noise_scale": null}')
    assert (slow["as_judged"], slow["differs"]) == (False, ["setting length_scale"])
    assert slow["setting"] == {**SETTING.knobs, "length_scale": 1.5}

    assert infer(elsewhere, package, seed=7)["as_judged"] is True  # this family does not sample
    monkeypatch.setitem(BACKENDS, "piper", replace(BACKENDS["piper"], samples=True))
    assert infer(elsewhere, package, seed=7)["differs"] == ["seed 7 was not judged"]
    monkeypatch.setattr(piper, "INFERENCE_VERSION", 9, raising=False)
    assert infer(elsewhere, package)["differs"] == ["inference version 9, judged with 1"]


def test_a_gpu_s_voice_speaks_on_the_cpu_when_asked(
    run: RunFolder, place: Workspace, elsewhere: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_gpu(run, place)
    told = ship(place, "a", 2)
    given = []
    monkeypatch.setattr(piper, "load_speaker", lambda *arguments: given.append(arguments[3]) or Hum(*arguments))

    spoken = [infer(elsewhere, told["voice"]), infer(elsewhere, told["voice"], cpu=True)]

    assert [facts["device"] for facts in given] == ["cuda", "cpu"]
    assert [answer["as_judged"] for answer in spoken] == [True, False]
    infer(place, "a", epoch=2, cpu=True)
    assert given[-1]["device"] == "cpu"


def test_a_voice_is_found_by_its_name_where_it_was_shipped(run: RunFolder, place: Workspace) -> None:
    ship(place, "a", 2)

    assert infer(place, "a-epoch-002")["voice_package"] == "a-epoch-002"
    assert "voice_package" not in infer(place, "a", epoch=2)
    make_run(place, "a-epoch-002", CONSTANT, epochs=1, base="bases/joe.onnx", measured=False)
    assert find_voice("a-epoch-002", place) is None  # the run comes first
    assert find_voice("../voices/a-epoch-002", place) is None


def test_a_package_has_one_epoch(package: Path, elsewhere: Workspace) -> None:
    with pytest.raises(UsageError, match="one epoch"):
        infer(elsewhere, package, epoch=2)


@pytest.mark.parametrize("setting", ["[1]", '"x"', "{"])
def test_a_setting_is_an_object(package: Path, elsewhere: Workspace, setting: str) -> None:
    with pytest.raises(UsageError, match="JSON"):
        infer(elsewhere, package, setting=setting)


# --- packages that nobody should trust


def add(folder: Path, name: str, listed: bool = True, content: bytes = b"x") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if listed:
        files = read_json(folder / "voice.json")["files"]
        shipping.reseal(folder, files={**files, name: {"sha256": "0" * 64, "bytes": 0}})


def flip(folder: Path) -> None:
    path = folder / "epoch/weights.safetensors"
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))


def link_out(folder: Path) -> None:
    secret = folder.parent / "secret.json"
    secret.write_text("{}")
    (folder / "base/joe.onnx.json").unlink()
    (folder / "base/joe.onnx.json").symlink_to(secret)
    shipping.reseal(folder)


def link_folder_out(folder: Path) -> None:
    shutil.move(folder / "epoch", folder.parent / "epoch-outside")
    (folder / "epoch").symlink_to(folder.parent / "epoch-outside")


def climb(folder: Path) -> None:
    (folder.parent / "secret.json").write_text("{}")
    files = read_json(folder / "voice.json")["files"]
    shipping.reseal(folder, files={**files, "epoch/../../secret.json": {"sha256": "0" * 64, "bytes": 2}})


def rename_listed(folder: Path, name: str) -> None:
    files = read_json(folder / "voice.json")["files"]
    shipping.reseal(folder, files={**files, name: {"sha256": "0" * 64, "bytes": 2}})


def base_elsewhere(folder: Path) -> None:
    shipping.reseal(folder, base={**read_json(folder / "voice.json")["base"], "path": "README.md"})


def base_not_listed(folder: Path) -> None:
    shipping.reseal(folder, base={**read_json(folder / "voice.json")["base"], "path": "../other.onnx"})


def edit_manifest(folder: Path) -> None:
    path = folder / "voice.json"
    path.write_text(path.read_text().replace('"confirmed": false', '"confirmed": true'))


def other_sums(folder: Path) -> None:
    path = folder / "SHA256SUMS"
    digest = sha256_file(folder / "metrics.json")
    path.write_text(path.read_text().replace(digest, "0" * 64))


def facts(folder: Path, **changes: Any) -> None:
    shipping.reseal(folder, voice={**read_json(folder / "voice.json")["voice"], **changes})


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a flipped bit": (flip, "epoch/weights.safetensors: its content"),
    "cut short": (lambda folder: os.truncate(folder / "base/joe.onnx", 3), "base/joe.onnx: it has 3 bytes, 7 were"),
    "missing": (lambda folder: (folder / "config.yaml").unlink(), "config.yaml: it is missing"),
    "no sums": (lambda folder: (folder / "SHA256SUMS").unlink(), "SHA256SUMS: it is missing"),
    "sums of others": (lambda folder: (folder / "SHA256SUMS").write_text(""), "voice.json: its content"),
    "sums that say otherwise": (other_sums, "SHA256SUMS: it lists other files or hashes"),
    "an edited manifest": (edit_manifest, "voice.json: its content"),
    "not listed": (lambda folder: add(folder, "epoch/pytorch_model.json", listed=False), "does not list it"),
    "a link out": (link_out, "base/joe.onnx.json: it is missing, or leads out"),
    "a folder that is a link out": (link_folder_out, "it is missing, or leads out"),
    "a name that climbs": (climb, "its name leads out"),
    "an absolute name": (lambda folder: rename_listed(folder, "/etc/hostname"), "it is missing, or leads out"),
    "a pickle": (lambda folder: add(folder, "epoch/pytorch_model.bin"), "could run code"),
    "a pickle of another family": (lambda folder: add(folder, "base/model.pth"), "could run code"),
    "a program": (lambda folder: add(folder, "epoch/modeling_x.py"), "could run code"),
    "a program called licence": (lambda folder: add(folder, "epoch/LICENSE.py"), "could run code"),
    "a base that is another file": (base_elsewhere, "no file of the base"),
    "a base outside": (base_not_listed, "does not list it"),
    "no manifest": (lambda folder: (folder / "voice.json").unlink(), "voice.json"),
    "a torn manifest": (lambda folder: os.truncate(folder / "voice.json", 100), "not JSON"),
    "a huge manifest": (lambda folder: (folder / "voice.json").write_bytes(b" " * 9_000_000), "too large"),
    "a newer format": (lambda folder: shipping.reseal(folder, format="tts-train-voice/2"), "this tts-train reads"),
    "an unknown family": (lambda folder: shipping.reseal(folder, backend="bark"), "family 'bark'"),
    "an unknown fact": (lambda folder: facts(folder, dtype="bfloat16"), "Extra inputs"),
    "code from the hub": (lambda folder: facts(folder, attention="evil/kernel"), "sdpa"),
    "a reference elsewhere": (lambda folder: facts(folder, reference="../x.wav"), "does not list it"),
    "no seeds": (lambda folder: shipping.reseal(folder, seeds=[]), "at least 1"),
    "a name of no epoch": (lambda folder: shipping.reseal(folder, epoch=0), "greater than"),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_or_evil_package_does_not_speak(
    package: Path, elsewhere: Workspace, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    spoil, message = DAMAGES[how]
    spoil(package)
    monkeypatch.setattr(piper, "load_speaker", lambda *_: pytest.fail("it was read"))

    with pytest.raises(InputUnusable) as caught:
        infer(elsewhere, package)

    assert message in str([caught.value.message, *map(str, caught.value.problems)])
    assert caught.value.exit_code == 65
    assert not (elsewhere.root / "said.wav").exists()


def test_every_damaged_file_is_named(package: Path) -> None:
    flip(package)
    (package / "metrics.json").write_bytes((package / "metrics.json").read_bytes().replace(b"0.02", b"0.01"))

    with pytest.raises(InputUnusable) as caught:
        open_voice(package)

    assert {problem.file for problem in caught.value.problems} == {"epoch/weights.safetensors", "metrics.json"}


def test_files_that_nothing_reads_may_lie_beside(package: Path, elsewhere: Workspace) -> None:
    (package / ".cache/huggingface").mkdir(parents=True)
    (package / ".gitattributes").write_text("*.onnx lfs\n")

    assert infer(elsewhere, package)["as_judged"] is True


def test_what_a_newer_version_tells_people_is_left_alone(package: Path) -> None:
    shipping.reseal(package, praise="lovely")

    assert open_voice(package).manifest.format == FORMAT


def test_a_qwen3_epoch_is_not_taken_for_a_package(elsewhere: Workspace) -> None:
    write_json(elsewhere.root / "epoch/voice.json", {"speaker": "ann"})

    assert find_voice(str(elsewhere.root / "epoch"), elsewhere) is None
    with pytest.raises(InputUnusable, match="format"):
        read_voice(elsewhere.root / "epoch")


# --- what is left in the workspace


def test_shipped_epochs_are_held_by_prune(run: RunFolder, place: Workspace, tmp_path: Path) -> None:
    folder = make_run(place, "a-b", CONSTANT, epochs=3, base="bases/joe.onnx", measured=False)
    rendered(folder, 1, place)
    ship(place, "a-b", 1)
    ship(place, "a", 1, out=tmp_path / "out")

    assert shipped(place, "a") == {1: "a-epoch-001"}
    told = prune(place, "a-b", keep="3")
    assert {row["epoch"]: row["why"] for row in told["keep"]}[1] == "shipped as a-b-epoch-001"
    assert told["prune"] == [2]
    assert prune(place, "a", keep="2")["prune"] == []
    os.truncate(place.voices / "a-epoch-001/voice.json", 5)
    assert prune(place, "a", keep="2")["prune"] == []
    os.rename(place.voices / "a-b-epoch-001", place.voices / ".tmp-a-b-epoch-001.7")  # of a ship that was killed
    assert shipped(place, "a-b") == {}


def test_a_voice_that_was_shipped_elsewhere_leaves_word(run: RunFolder, place: Workspace, tmp_path: Path) -> None:
    ship(place, "a", 2, out=tmp_path / "out")

    note = read_json(place.voices / "a-epoch-002/voice.json")
    assert (note["run"], note["epoch"], note["folder"]) == ("a", 2, str(tmp_path / "out/a-epoch-002"))
    with pytest.raises(InputUnusable, match="shipped elsewhere"):
        infer(place, "a-epoch-002")
    ship(place, "a", 2)
    ship(place, "a", 2, out=tmp_path / "out")
    assert infer(place, "a-epoch-002")["as_judged"] is True  # the whole package is not replaced by a note


def test_the_command_refuses_with_its_code(run: RunFolder, place: Workspace) -> None:
    without_consent(run, place)

    error = run_script("ship", "a", "2", "--workspace", place.root, code=65)
    assert "not consented" in error["message"]
    told = run_script("ship", "a", "2", "--dry-run", "--workspace", place.root)
    assert told["refused"][0]["kind"] == "consent"


# --- consent in the card


def test_none_is_an_answer_and_training_warns_of_it(place: Workspace) -> None:
    dataset = place.datasets / "demo"
    (dataset / "clips").mkdir()
    (dataset / "clips/a.wav").write_bytes(b"x")
    row = {
        "id": "a",
        "audio_file": "clips/a.wav",
        "text": "Hi.",
        "speaker": "s",
        "language": "en",
        "audio_seconds": 1.0,
    }
    (dataset / "train_manifest.jsonl").write_text(json.dumps(row) + "\n")
    config = place.configs / "a.yaml"
    config.write_text(
        "voice: a\nrun: a\nbackend: piper\ndataset: datasets/demo/train_manifest.jsonl\nepochs: 1\nlr: 1.0e-5\n"
    )
    assert plan(config, place)["warnings"] == []
    card = CARD.replace("own voice", "none")
    for reason in ("", "no_consent_because: ' '\n"):
        (dataset / "dataset.yaml").write_text(card + reason)
        with pytest.raises(ConfigError) as refused:
            plan(config, place)
        assert "why the voice is trained all the same" in refused.value.problems[0].message
    (dataset / "dataset.yaml").write_text(card + "no_consent_because: a test\n")

    told = plan(config, place)

    assert load_card(dataset).consent_basis == "none"
    assert "ship" in told["warnings"][0]
    assert "warning: the card's consent_basis is none" in told["text"]


def test_exporting_without_consent_warns(run: RunFolder, place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piper, "export_voice", lambda *_: {"onnx": "a.onnx"})
    assert "warnings" not in export(place, "a", place.root / "out", epoch=2)

    without_consent(run, place)
    assert "none" in export(place, "a", place.root / "out", epoch=2)["warnings"][0]
    without_card(run, place)
    assert "warnings" not in export(place, "a", place.root / "out", epoch=2)


def test_what_is_said_tells_on_which_basis(run: RunFolder, place: Workspace) -> None:
    """In the file beside the audio too; without a reason for `none` nothing is said."""
    out = place.root / "said.wav"

    def said() -> dict[str, Any]:
        told = speak.infer(place, "a", out, text="Hum.", epoch=2, seed=0, setting="{}")
        assert read_json(out.with_name("said.wav.json"))["consent_basis"] == told["consent_basis"]
        return told

    assert said()["consent_basis"] == "own voice"
    without_consent(run, place)
    assert said()["consent_basis"] == "none"
    assert "not for sharing" in said()["warnings"][0]
    card = place.datasets / "demo/dataset.yaml"
    card.write_text(CARD.replace("own voice", "none"))
    with pytest.raises(ConfigError):
        said()
    without_card(run, place)
    assert said()["consent_basis"] is None


# --- licences


@pytest.mark.parametrize(
    ("text", "name", "commercial", "note"),
    [
        ("* License: CC0\n* URL: https://x\n", "CC0-1.0", True, False),
        ("* License: CC0\n\nFinetuned from U.S. English lessac voice (medium quality).\n", "CC0-1.0", None, True),
        ("* License: CC BY-NC-SA 4.0\n", "CC BY-NC-SA 4.0", None, False),
        ("nothing", UNKNOWN, None, False),
        (None, UNKNOWN, None, False),
    ],
)
def test_what_a_piper_card_says(
    tmp_path: Path, text: str | None, name: str, commercial: bool | None, note: bool
) -> None:
    if text is not None:
        (tmp_path / "MODEL_CARD").write_text(text)

    licence = from_piper_card(tmp_path / "MODEL_CARD")

    assert (licence.name, licence.commercial, bool(licence.note)) == (name, commercial, note)


def test_a_licence_is_known_by_its_title(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("                  Apache License\n           Version 2.0, January 2004\n")

    assert named_in((tmp_path / "LICENSE",)) == "Apache-2.0"
    assert named_in(()) == UNKNOWN
