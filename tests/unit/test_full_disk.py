"""A disk that is full, or read-only, in the morning: everything that only reads still answers, what writes says why."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import disk_faults
from finished_run import workspace_in
from playable_run import make_playable
from tts_train.errors import DiskError, InputUnusable
from tts_train.review.decision.next import propose
from tts_train.review.lineage import lineage
from tts_train.review.overview import list_runs
from tts_train.review.record.database import Database, database
from tts_train.review.record.schema import MIGRATIONS
from tts_train.review.record.store import Store, verdicts_of
from tts_train.review.record.verdicts import Verdict
from tts_train.review.recording import record_verdict
from tts_train.review.report import report
from tts_train.review.sessions.sessions import list_sessions
from tts_train.work.morning.report import morning_report
from tts_train.workspace import Workspace

SAID = Verdict(run="demo", epoch=1, listener="ann", heard=("good",))
READERS: dict[str, Callable[[Workspace], object]] = {
    "runs": lambda place: list_runs(place, 5),
    "report": lambda place: report(place, "demo"),
    "report --since": lambda place: morning_report(place, "12h"),
    "next": lambda place: propose(place, "demo"),
    "lineage": lambda place: lineage(place, "demo"),
    "session list": list_sessions,
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = workspace_in(tmp_path / "workspace")
    make_playable(made, "demo", epochs=2)
    record_verdict(made, SAID)
    return made


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as opened:
        while True:
            opened.write(bytes(4096))


def morning(place: Workspace) -> None:
    for name, read in READERS.items():
        assert read(place), name
    assert [verdict.listener for verdict in verdicts_of(place, "demo")] == ["ann"]
    with pytest.raises(DiskError, match=r"reviews\.db") as caught:
        record_verdict(place, SAID)
    assert caught.value.exit_code == disk_faults.DISK


def test_what_only_reads_answers_on_a_read_only_disk(workspace: Workspace) -> None:
    disk_faults.mounted(workspace.root, lambda: morning(workspace))


def test_what_only_reads_answers_on_a_full_disk(workspace: Workspace, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()

    def body() -> None:
        place = Workspace(disk / "workspace")
        shutil.copytree(workspace.root, place.root)
        with pytest.raises(OSError, match="No space"):
            _fill(disk / "filler")
        morning(place)
        (disk / "filler").unlink()
        record_verdict(place, SAID)
        assert len(verdicts_of(place, "demo")) == 2

    disk_faults.mounted(disk, body, megabytes=2)


def test_rows_that_are_in_the_log_alone_are_read_too(workspace: Workspace, tmp_path: Path) -> None:
    """As a killed writer leaves them: copied while it lives, its log is not moved into the database."""
    copy = tmp_path / "copy"
    copy.mkdir()
    with Store(database(workspace)) as store:
        store.add_verdict(Verdict(run="demo", epoch=2, listener="bob", heard=("good",)))
        for file in workspace.runs.glob("reviews.db*"):
            shutil.copyfile(file, copy / file.name)
    assert (copy / "reviews.db-wal").stat().st_size > 0

    def body() -> None:
        with Store(copy / "reviews.db") as store:
            assert [verdict.listener for verdict in store.verdicts("demo")] == ["ann", "bob"]

    disk_faults.mounted(copy, body)


@pytest.mark.parametrize(("known", "error"), [(MIGRATIONS[:-1], InputUnusable), ((*MIGRATIONS, ()), DiskError)])
def test_another_version_s_database_is_not_misread(
    workspace: Workspace, known: tuple[object, ...], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer one's, and an older one's that cannot be brought up to date."""
    monkeypatch.setattr("tts_train.review.record.database.MIGRATIONS", known)

    def body() -> None:
        with pytest.raises(error):
            Database(database(workspace))

    disk_faults.mounted(workspace.root, body)
