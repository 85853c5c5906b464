"""What people said and what is shipped, on a disk that fails at any call: SQLite's calls as well as ours.

Nothing said before is lost, nothing is said twice, and a package, an export or a pruned epoch is whole or not there.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

import disk_faults
import shipping
from finished_run import CONSTANT, DECAY, make_run, workspace_in
from humming import BASE, Hum, humming_workspace, rendered
from playable_run import make_playable
from system_calls import unsynced
from tts_train.backends import piper
from tts_train.config import TrainConfig
from tts_train.errors import ConfigError, DiskError
from tts_train.files import sha256_file
from tts_train.review.decision.next import propose
from tts_train.review.export import export_reviews
from tts_train.review.record.store import Store, database
from tts_train.review.record.verdicts import Verdict, current
from tts_train.review.recording import record_verdict
from tts_train.review.sessions.answers import Answer, record_answer
from tts_train.review.sessions.sessions import close_session, list_sessions, new_session, show_session
from tts_train.training.run import RunFolder
from tts_train.work import ship as shipped
from tts_train.work.configs import new_config
from tts_train.work.prune import prune
from tts_train.work.ship import ship
from tts_train.workspace import Workspace

pytestmark = pytest.mark.faults

TRIALS = 4
DATABASE = ("reviews.db", "reviews.db-shm", ".reviews.db.lock")
"""What SQLite moves from its log into the first when it closes is safe in the log; reading does without the others."""
FIRST = Verdict(run="demo", epoch=1, listener="ann", heard=("no-difference",))
NEW = Verdict(run="demo", epoch=2, listener="ann", heard=("good", "feature-missing"), markers={"BATH": "target"})


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace with a run that can be played, one verdict, and a session of sheets; and the session's name."""
    workspace = workspace_in(tmp_path_factory.mktemp("judged") / "workspace")
    make_playable(workspace, "demo", epochs=2)
    record_verdict(workspace, FIRST)
    session = new_session(workspace, "demo", kind="sheet", listener="bob", trials=TRIALS, seed=1)["session"]
    return workspace.root, session


@pytest.fixture
def copies(judged: tuple[Path, str]) -> Callable[[Path], Any]:
    """Makes a copy of it."""
    return lambda place: shutil.copytree(judged[0], place)


def said(place: Path) -> dict[str, object]:
    """Everybody's last words and all answers; the database is whole."""
    with Store(database(Workspace(place))) as store:
        found: dict[str, object] = {
            f"{verdict.listener} on {verdict.epoch}": (verdict.heard, dict(verdict.markers))
            for verdict in current(store.verdicts("demo"))
        }
    with closing(sqlite3.connect(database(Workspace(place)))) as connection:
        for nonce, answer in connection.execute("SELECT nonce, answer FROM answers"):
            assert found.setdefault(nonce, answer) == answer
        found["of bob"] = connection.execute("SELECT count(*) FROM verdicts WHERE session_id IS NOT NULL").fetchone()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    return found


def answers(place: Path, session: str) -> None:
    for number in range(1, TRIALS + 1):
        sheet = {"heard": ["good"], "markers": {"BATH": "target"}, "words": {"cup": "dropped"}, "note": "fine"}
        record_answer(Workspace(place), Answer(session, number, "bob", "sheet", sheet, nonce=f"nonce-{number}"))


def test_a_verdict(copies: Callable[[Path], Any], tmp_path: Path) -> None:
    seen = disk_faults.sweep(
        "verdict",
        lambda place: record_verdict(Workspace(place), NEW),
        said,
        tmp_path,
        prepare=copies,
        harmless=DATABASE,
    )
    assert any(call.path.endswith("reviews.db-wal") for call in seen.calls)
    assert said(tmp_path / "whole/it")["ann on 1"] == (("no-difference",), {})
    assert said(tmp_path / "whole/it")["ann on 2"] == (("feature-missing", "good"), {"BATH": "target"})


def test_answers_and_the_closing_that_makes_verdicts_of_them(
    judged: tuple[Path, str], copies: Callable[[Path], Any], tmp_path: Path
) -> None:
    def work(place: Path) -> None:
        answers(place, judged[1])
        close_session(Workspace(place), judged[1])

    disk_faults.sweep("session answer and close", work, said, tmp_path, prepare=copies, coarser=5, harmless=DATABASE)
    assert said(tmp_path / "whole/it")["of bob"] != (0,)


def test_planning_a_session(copies: Callable[[Path], Any], tmp_path: Path) -> None:
    def work(place: Path) -> None:
        new_session(Workspace(place), "demo", kind="ab", listener="ann", trials=TRIALS, seed=3)

    def outcome(place: Path) -> dict[str, object]:
        """Every session that is listed can be played to its end."""
        sessions = [row["session"] for row in list_sessions(Workspace(place))["sessions"]]
        for session in sessions:
            told = show_session(Workspace(place), session)
            assert Path(told["next"]["first"]).is_file()
            assert len(told["left"]) == TRIALS
        return said(place) | {"there": len(sessions) > 1}

    disk_faults.sweep("session new", work, outcome, tmp_path, prepare=copies, coarser=4, harmless=DATABASE)


def test_the_first_word_of_all(tmp_path: Path) -> None:
    """The database is made and migrated on the way."""

    def work(place: Path) -> None:
        with Store(place / "reviews.db") as store:
            store.add_verdict(FIRST)

    def outcome(place: Path) -> dict[str, object]:
        # Opening it would make what is not there yet: the tables, in a first word that died.
        if not (place / "reviews.db").is_file():
            return {}
        with closing(sqlite3.connect(place / "reviews.db")) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'verdicts'").fetchone()[0]
            there = tables and connection.execute("SELECT count(*) > 0 FROM verdicts").fetchone()[0]
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {"said": 1} if there else {}

    disk_faults.sweep(
        "reviews.db made", work, outcome, tmp_path, prepare=lambda place: place.mkdir(), coarser=3, harmless=DATABASE
    )


def test_an_export(copies: Callable[[Path], Any], tmp_path: Path) -> None:
    seen = disk_faults.sweep(
        "report --reviews",
        lambda place: export_reviews(Workspace(place), "demo", place / "out"),
        lambda place: {path.name: path.read_bytes() for path in (place / "out").rglob("*") if path.is_file()},
        tmp_path,
        prepare=copies,
        harmless=DATABASE,
    )
    assert unsynced(call for call in seen.calls if "reviews.db" not in call.path) == []


def test_configs(tmp_path: Path) -> None:
    """A new one, and the child that `next --write` makes: whole or not there."""

    def prepare(place: Path) -> None:
        workspace = workspace_in(place)
        make_run(workspace, "a", DECAY)
        with Store(database(workspace)) as store:
            store.add_verdict(Verdict(run="a", epoch=6, listener="ann", heard=("no-difference",)))

    def work(place: Path) -> None:
        with suppress(ConfigError):  # it exists
            new_config(
                Workspace(place), "demo", backend_name="piper", dataset="datasets/demo/train_manifest.jsonl", run="b"
            )
        propose(Workspace(place), "a", write=True)

    def outcome(place: Path) -> dict[str, object]:
        """Of killed ones another may be there, under the next number."""
        found = {path: yaml.safe_load(path.read_text()) for path in (place / "configs/tts").glob("*.yaml")}
        assert all(TrainConfig.model_validate(config) for config in found.values())
        return {path.stem.removesuffix("-2"): "whole" for path in found}

    disk_faults.sweep(
        "config new, next --write", work, outcome, tmp_path, prepare=prepare, coarser=5, harmless=DATABASE
    )
    assert len(outcome(tmp_path / "whole/it")) == 2


def test_a_prune(tmp_path: Path) -> None:
    def prepare(place: Path) -> None:
        make_run(workspace_in(place), "a", CONSTANT)

    def outcome(place: Path) -> dict[str, object]:
        run = RunFolder(place / "artifacts/tts/a")
        whole = {epoch.number: (epoch.folder or place) / epoch.info["weights"] for epoch in run.epochs()}
        for epoch in run.epochs():
            assert epoch.pruned or whole[epoch.number].is_file(), "an epoch that says nothing lost its weights"
        return {str(number): path.is_file() for number, path in whole.items()} | {
            str(path): "left" for path in run.path.rglob(".tmp-*")
        }

    def work(place: Path) -> None:
        prune(Workspace(place), "a", keep="last:2", delete=True)

    disk_faults.sweep("prune", work, outcome, tmp_path, prepare=prepare, coarser=2, harmless=DATABASE)
    assert list(outcome(tmp_path / "whole/it").values()) == [False] * 4 + [True] * 2


def test_a_ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipping.workers_in_this_process(monkeypatch)
    monkeypatch.setattr(piper, "load_speaker", Hum)
    monkeypatch.setattr(shipped, "now", lambda: "2026-01-01T00:00:00+00:00")

    def prepare(place: Path) -> None:
        workspace = humming_workspace(place)
        rendered(make_run(workspace, "a", CONSTANT, epochs=1, base=BASE, measured=False), 1, workspace)
        with Store(database(workspace)) as store:
            store.add_verdict(Verdict(run="a", epoch=1, listener="ann", heard=("good",), at="2026-01-01"))

    def outcome(place: Path) -> dict[str, object]:
        voices = place / "artifacts/tts/voices"
        files = [path for path in voices.rglob("*") if path.is_file()]
        return {str(path.relative_to(voices)): sha256_file(path) for path in files}

    def work(place: Path) -> None:
        ship(Workspace(place), "a", 1)

    # The verdict's time is in the package, and copies of a workspace have one time.
    made = tmp_path / "made"
    prepare(made)
    seen = disk_faults.sweep(
        "ship",
        work,
        outcome,
        tmp_path,
        prepare=lambda place: shutil.copytree(made, place),
        coarser=3,
        harmless=DATABASE,
    )
    assert len(outcome(tmp_path / "whole/it")) > 8
    assert unsynced(call for call in seen.calls if "reviews.db" not in call.path) == []


def test_a_verdict_on_a_disk_that_is_really_full(copies: Callable[[Path], Any], tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()

    def body() -> None:
        workspace = Workspace(place / "workspace")
        copies(workspace.root)
        before = said(workspace.root)
        filler = place / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(place).free - 80_000))
        _until_full(workspace)
        filler.unlink()
        assert said(workspace.root).items() >= before.items()
        record_verdict(workspace, NEW)

    disk_faults.mounted(place, body, megabytes=1.5)


def _until_full(workspace: Workspace) -> None:
    for _ in range(10_000):
        try:
            record_verdict(workspace, NEW)
        except DiskError:
            return
    raise AssertionError("the disk never was full")
