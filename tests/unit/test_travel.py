"""Sessions for listeners elsewhere: what is sent tells nothing, what comes back is checked whole and added once."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import stat
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finished_run import KEY, run_script, workspace_in
from playable_run import make_playable
from tts_train.errors import InputUnusable, TtsTrainError, UsageError
from tts_train.files import read_json, write_json
from tts_train.review.record.database import Database, database
from tts_train.review.record.store import Store, verdicts_of
from tts_train.review.record.trials import judgements_of
from tts_train.review.sessions import signing
from tts_train.review.sessions.answers import Answer, record_answer
from tts_train.review.sessions.materials import clip_path
from tts_train.review.sessions.playing import played_trials
from tts_train.review.sessions.session_rows import plan_of, read_session
from tts_train.review.sessions.sessions import close_session, new_session, show_session
from tts_train.review.sessions.signing import plan_signature
from tts_train.review.sessions.travel import export_session, import_answers
from tts_train.workspace import Workspace

WORDS = ["Put", "the", "cup", "on", "the", "grass", "path,", "and", "look", "at", "the", "running", "water."]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """For tests that must leave no answer behind."""
    place = workspace_in(tmp_path_factory.mktemp("untouched"))
    make_playable(place)
    return place


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = workspace_in(tmp_path)
    make_playable(place)
    return place


def planned(workspace: Workspace, kind: str = "ab", **more: Any) -> str:
    return new_session(workspace, "demo", kind=kind, listener="ann", **more)["session"]


def plan(workspace: Workspace, session: str) -> list[dict[str, Any]]:
    with Database(database(workspace)) as opened, opened.reading() as connection:
        return plan_of(connection, session)


def page_of(html: str) -> dict[str, Any]:
    return json.loads(html.partition("window.SESSION = ")[2].partition(";\n")[0])


def exported(workspace: Workspace, session: str, name: str = "out.zip") -> tuple[dict[str, Any], dict[str, bytes]]:
    """(the page's plan, the archive's files)."""
    path = workspace.root / name
    export_session(workspace, session, path)
    with zipfile.ZipFile(path) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    (html,) = (data.decode() for name, data in files.items() if name.endswith("listen.html"))
    return page_of(html), files


def answers_of(page: dict[str, Any], count: int | None = None, **more: Any) -> dict[str, Any]:
    """What the page hands out when its first `count` trials are answered."""
    given = []
    for number, trial in enumerate(page["trials"][:count]):
        is_sheet = trial["kind"] == "sheet"
        sheet = {"heard": ["good"], "marker BATH": "target", "words": {"5": "stretched"}, "note": " fine "}
        given.append(
            {
                "token": trial["token"],
                "clips": {side: clip["token"] for side, clip in trial["sides"].items()},
                "answer": "sheet" if is_sheet else ("first", "second")[number % 2],
                "sheet": sheet if is_sheet else None,
                "confidence": 1 + number % 5,
                "seconds_heard": dict.fromkeys(trial["sides"], 2),
                "replays": number % 3,
                "nonce": secrets.token_hex(16),
                "at": f"2026-11-22T06:{number % 60:02d}:11.123Z",
            }
        )
    about = {"format": "tts-train-answers/1", "session": page["session"], "plan": page["plan"]}
    return {**about, "listener": {"name": page["listener"]}, "total": len(page["trials"]), "answers": given, **more}


def handed_in(workspace: Workspace, content: Any) -> dict[str, Any]:
    write_json(workspace.root / "answers.json", content)
    return import_answers(workspace, workspace.root / "answers.json")


def rows(workspace: Workspace) -> list[dict[str, Any]]:
    with Database(database(workspace)) as opened, opened.reading() as connection:
        return [dict(row) for row in connection.execute("SELECT * FROM answers ORDER BY id")]


@pytest.mark.parametrize("kind", ["abx", "ab", "xab", "sheet"])
def test_what_is_sent_holds_every_clip_and_tells_nothing(workspace: Workspace, kind: str) -> None:
    session = planned(workspace, kind, seed=98765432109876)
    page, files = exported(workspace, session)
    known = plan(workspace, session)
    stimuli = [row for trial in known for row in trial["stimuli"].values()]
    tokens = {row["token"] for row in stimuli}
    folder = f"listen-{session}"
    assert set(files) == {f"{folder}/listen.html", *(f"{folder}/clips/{token}.js" for token in tokens)}
    for token in tokens:
        sound = base64.b64decode(files[f"{folder}/clips/{token}.js"].split(b'"')[3])
        assert sound == clip_path(workspace, session, token).read_bytes()
    plain = json.dumps(page)
    secret = ["epoch", "anchor", "natural", "identical", "repeat", "98765432109876", KEY, "sha256", "loss", "demo"]
    secret += [str(workspace.root), (workspace.runs / "reviews.key").read_bytes().hex(), *{t["item"] for t in known}]
    spoken = {word["text"].strip(".,").lower() for trial in page["trials"] for word in trial["transcript"]}
    for word in secret:
        assert word in spoken or f'"{word}' not in plain, word
        assert word in ("loss", "one", "two", "three", "four", "passage") or word not in plain, word
    with zipfile.ZipFile(workspace.root / "out.zip") as archive:
        infos = archive.infolist()
    assert {info.date_time for info in infos} == {(2000, 1, 1, 0, 0, 0)}
    assert {info.extra for info in infos} | {info.comment for info in infos} == {b""}
    names = [info.filename for info in infos if "clips" in info.filename]
    assert names == sorted(names), "the order of the plan shows in the archive"
    order = [side["token"] for trial in page["trials"] for side in trial["sides"].values()]
    assert [trial["token"] for trial in page["trials"]] == [trial["stimuli"]["first"]["token"] for trial in known]
    assert set(order) == tokens


def test_one_file_for_a_phone_and_no_other_kind(workspace: Workspace) -> None:
    session = planned(workspace, trials=4)
    result = export_session(workspace, session, workspace.root / "out.html")
    html = (workspace.root / "out.html").read_text()
    assert html.count("data-clip=") == 8 + 1  # and once in the script that reads them
    assert result["clips"] == 8
    assert page_of(html) == exported(workspace, session)[0]
    with pytest.raises(UsageError, match="neither"):
        export_session(workspace, session, workspace.root / "out.tar")


def test_what_cannot_be_sent(workspace: Workspace) -> None:
    session = planned(workspace, trials=4)
    sighted = planned(workspace, trials=4, sighted=True)
    out = workspace.root / "out.zip"
    with pytest.raises(UsageError, match="sighted"):
        export_session(workspace, sighted, out)
    with pytest.raises(InputUnusable, match="no session"):
        export_session(workspace, "0123456789", out)
    close_session(workspace, session, early=True)
    with pytest.raises(UsageError, match="closed"):
        export_session(workspace, session, out)
    changed = planned(workspace, trials=4)
    path = workspace.runs / "sessions" / changed / "session.json"
    write_json(path, {**read_json(path), "listener": "bob"})
    with pytest.raises(InputUnusable, match="not what was planned"):
        export_session(workspace, changed, out)
    assert not out.exists()


@pytest.mark.parametrize("kind", ["abx", "ab", "xab"])
def test_answers_that_came_back_are_the_rows_of_answers_given_here(workspace: Workspace, kind: str) -> None:
    session, live = planned(workspace, kind, seed=7), planned(workspace, kind, seed=7)
    page, _ = exported(workspace, session)
    content = answers_of(page)
    result = handed_in(workspace, content)
    assert (result["added"], result["known"], result["replaced"]) == (len(page["trials"]), 0, 0)
    assert result["answered"] == result["trials"]
    assert f"session close {session}" in result["next"]
    for number, given in enumerate(content["answers"], 1):
        heard = {side: float(seconds) for side, seconds in given["seconds_heard"].items()}
        more = {"confidence": given["confidence"], "heard_seconds": heard, "replays": given["replays"]}
        record_answer(workspace, Answer(live, number, "ann", given["answer"], **more))
    sent, typed = ([row for row in rows(workspace) if row["session_id"] == name] for name in (session, live))
    for one, other in zip(sent, typed, strict=True):
        same = ("trial", "answer", "sheet", "confidence", "heard_seconds", "replays")
        assert [one[name] for name in same] == [other[name] for name in same]
    assert sent[3]["at"] == "2026-11-22T06:03:11+00:00"
    close_session(workspace, session)
    close_session(workspace, live)
    mine, theirs = ([j for j in judgements_of(workspace, "demo") if j.session == name] for name in (session, live))
    assert [(j.first, j.second, j.x, j.answer) for j in mine] == [(j.first, j.second, j.x, j.answer) for j in theirs]


def test_sheets_that_came_back_become_verdicts(workspace: Workspace) -> None:
    session = planned(workspace, "sheet")
    page, _ = exported(workspace, session)
    first = page["trials"][0]
    assert [question["id"] for question in first["questions"]] == ["heard", "marker BATH", "marker FOOT"]
    assert [word["text"] for word in first["transcript"]] == WORDS
    assert {word["text"] for word in first["transcript"] if "marker" in word} == {"Put", "grass", "path,", "look"}
    handed_in(workspace, answers_of(page))
    close_session(workspace, session)
    found = verdicts_of(workspace, "demo")
    assert [verdict.epoch for verdict in found] == list(range(7))
    assert {verdict.heard for verdict in found} == {("good",)}
    assert [dict(verdict.markers) for verdict in found] == [{"BATH": "target"}] * 7
    assert [dict(verdict.words) for verdict in found] == [{"grass": "stretched"}] * 7


def test_the_same_file_twice_and_a_part_that_grew(workspace: Workspace) -> None:
    session = planned(workspace)
    page, _ = exported(workspace, session)
    whole = answers_of(page)
    part = {**whole, "answers": whole["answers"][:4]}
    told = handed_in(workspace, part)
    assert (told["added"], told["answered"]) == (4, 4)
    assert f"session show {session}" in told["next"]
    told = handed_in(workspace, part)
    assert (told["added"], told["known"]) == (0, 4)
    told = handed_in(workspace, whole)
    assert (told["added"], told["known"], told["replaced"], told["answered"]) == (26, 4, 0, 30)
    assert len(rows(workspace)) == 30
    close_session(workspace, session)
    assert handed_in(workspace, whole)["known"] == 30, "a late repetition is no error"
    with pytest.raises(UsageError, match="closed"):
        handed_in(workspace, answers_of(page, 1))
    assert len(rows(workspace)) == 30


def test_answers_to_trials_that_had_one_are_told(workspace: Workspace) -> None:
    session = planned(workspace)
    page, _ = exported(workspace, session)
    record_answer(workspace, Answer(session, 2, "ann", "same"))
    assert handed_in(workspace, answers_of(page, 3))["replaced"] == 1
    assert show_session(workspace, session)["answers"] == {"1": "first", "2": "second", "3": "first"}


def first(content: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same file with its last answer changed: what stands before it must not be added either."""
    return {**content, "answers": [*content["answers"][:-1], {**content["answers"][-1], **changes}]}


def swapped(content: dict[str, Any]) -> dict[str, Any]:
    clips = content["answers"][-1]["clips"]
    return first(content, clips={"first": clips["second"], "second": clips["first"]})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda c: {**c, "plan": "0" * 64}, InputUnusable, "another plan"),
        (lambda c: {**c, "plan": "é"}, InputUnusable, "another plan"),
        (lambda c: {**c, "total": 29}, InputUnusable, "another plan"),
        (lambda c: {**c, "session": "0123456789"}, InputUnusable, "no session"),
        (lambda c: {**c, "format": "tts-train-answers/2"}, InputUnusable, "no answers file"),
        (lambda c: {**c, "extra": 1}, InputUnusable, "no answers file"),
        (lambda _: [], InputUnusable, "no answers file"),
        (lambda c: {**c, "listener": {"name": "bob"}}, UsageError, "another listener"),
        (lambda c: first(c, token="0" * 16), InputUnusable, "does not have"),
        (swapped, InputUnusable, "does not have"),
        (lambda c: first(c, clips={}), InputUnusable, "does not have"),
        (lambda c: first(c, answer="sheet", sheet={"heard": ["good"]}), UsageError, "no answer to ab"),
        (lambda c: first(c, answer="third"), UsageError, "no answer to ab"),
        (lambda c: first(c, confidence=True), InputUnusable, "no answers file"),
        (lambda c: first(c, confidence=6), UsageError, "confidence"),
        (lambda c: first(c, seconds_heard={"x": 1.0}), UsageError, "positions"),
        (lambda c: first(c, seconds_heard={"first": "1"}), InputUnusable, "no answers file"),
        (lambda c: first(c, nonce="n" * 65), UsageError, "nonce"),
        (lambda c: first(c, at="yesterday"), InputUnusable, "no time"),
        (lambda c: first(c, at="2026-11-22T06:00:00"), InputUnusable, "no time zone"),
    ],
)
def test_a_file_that_is_not_right_adds_nothing(
    untouched: Workspace, change: Callable[[Any], Any], error: type[TtsTrainError], message: str
) -> None:
    session = planned(untouched)
    page, _ = exported(untouched, session)
    with pytest.raises(error, match=message):
        handed_in(untouched, change(answers_of(page, 3)))
    assert rows(untouched) == []


@pytest.mark.parametrize(
    "sheet",
    [
        {"heard": "good"},
        {"heard": [1]},
        {"heard": ["good"], "words": {"99": "mangled"}},
        {"heard": ["good"], "words": {"-1": "mangled"}},
        {"heard": ["good"], "words": {"1": "purple"}},
        {"heard": ["good"], "words": {"1": []}},
        {"heard": ["good"], "words": []},
        {"heard": ["good"], "note": 1},
        {"heard": ["good"], "marker BATH": ["target"]},
        {"heard": ["good"], "marker BAHT": "target"},
        {"heard": ["good"], "other": "x"},
        {"heard": ["splendid"]},
        {"heard": []},
    ],
)
def test_a_sheet_that_is_none_adds_nothing(untouched: Workspace, sheet: dict[str, Any]) -> None:
    session = planned(untouched, "sheet")
    page, _ = exported(untouched, session)
    with pytest.raises((InputUnusable, UsageError)):
        handed_in(untouched, first(answers_of(page, 2), sheet=sheet))
    assert rows(untouched) == []


def test_answers_to_another_workspaces_plan_are_refused(workspace: Workspace) -> None:
    session = planned(workspace)
    page, _ = exported(workspace, session)
    os.unlink(workspace.runs / "reviews.key")
    with pytest.raises(InputUnusable, match="another plan"):
        handed_in(workspace, answers_of(page, 1))


def test_each_session_is_signed_for_itself(workspace: Workspace) -> None:
    one, two = planned(workspace, seed=1), planned(workspace, seed=1)
    first_page, second_page = exported(workspace, one)[0], exported(workspace, two)[0]
    assert first_page["plan"] != second_page["plan"]
    with pytest.raises(InputUnusable, match="another plan"):
        handed_in(workspace, {**answers_of(second_page, 1), "plan": first_page["plan"]})


def test_the_key_is_its_owners_alone_and_one_for_all(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(count: int) -> bytes:
        time.sleep(0.2)
        return os.urandom(count)

    monkeypatch.setattr(signing.secrets, "token_bytes", slowly)
    session = planned(workspace, trials=4)
    with Database(database(workspace)) as opened, opened.reading() as connection:
        row = read_session(connection, session)
    start, found = threading.Barrier(8), []

    def sign() -> None:
        start.wait()
        found.append(plan_signature(workspace, row))

    threads = [threading.Thread(target=sign) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [found[0]] * 8
    assert re.fullmatch("[0-9a-f]{64}", found[0])
    path = workspace.runs / "reviews.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == 32


def test_what_the_listener_said_of_themselves_is_kept(workspace: Workspace) -> None:
    session = planned(workspace)
    page, _ = exported(workspace, session)
    about = {"name": "ann", "region": "Bolton", "headphones": "no"}
    handed_in(workspace, answers_of(page, 1, listener=about))
    handed_in(workspace, answers_of(page, 1))
    with Store(database(workspace)) as store:
        assert vars(store.profiles()["ann"]) == {"region": "Bolton", "headphones": False}


def test_times_of_words_are_those_of_the_clip_that_is_played(workspace: Workspace) -> None:
    session = planned(workspace, "sheet", epochs=[3])
    notes = workspace.runs / "demo" / "renders" / KEY
    for place in notes.glob("*/measures.json"):
        measures = read_json(place)
        for item in measures["items"]:
            item["matched"]["trimmed_start_seconds"] = 0.25
            item["words"] = [{"word": "Put", "start": 0.5, "end": 0.75}, {"word": "the", "start": None, "end": None}]
        write_json(place, measures)
    gone = read_json(notes / "epoch-003" / "measures.json")
    for item in gone["items"]:
        item["matched"]["sha256"] = "0" * 64
    write_json(notes / "epoch-003" / "measures.json", gone)
    _, trials = played_trials(workspace, session)
    told = [{"word": "Put", "start": 0.25, "end": 0.5}, {"word": "the", "start": None, "end": None}]
    for trial, known in zip(trials, plan(workspace, session), strict=True):
        assert trial["sides"]["first"]["words"] == ([] if known["first"] == "epoch-003" else told)
    assert [trial["number"] for trial in played_trials(workspace, session, [2])[1]] == [2]


def test_the_commands_send_and_take(workspace: Workspace) -> None:
    at = ["--workspace", workspace.root]
    session = run_script("session", "new", "demo", "--listener", "ann", "--trials", "4", *at)["session"]
    sent = run_script("session", "export", session, workspace.root / "ann.zip", *at)
    assert (sent["trials"], sent["clips"]) == (4, 8)
    with zipfile.ZipFile(workspace.root / "ann.zip") as archive:
        page = page_of(archive.read(f"listen-{session}/listen.html").decode())
    write_json(workspace.root / "back.json", answers_of(page))
    assert run_script("session", "import", workspace.root / "back.json", *at)["added"] == 4
    assert len(run_script("session", "close", session, *at)["revealed"]) == 4
    error = run_script("session", "import", workspace.root / "ann.zip", *at, code=65)
    assert error["kind"] == "input-unusable"
    assert run_script("session", "export", session, workspace.root / "ann.zip", *at, code=2)["kind"] == "usage"
