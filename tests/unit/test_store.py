"""reviews.db: append-only, durable, shared by processes, refused where SQLite is not safe."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from finished_run import CONSTANT, KEY, make_run, run_script, workspace_in
from tts_train.errors import Busy, DiskError, InputUnusable, UsageError
from tts_train.files import read_json, sha256_json, write_json
from tts_train.review.record import database as store_module
from tts_train.review.record.filesystem import mount_type, require_local_disk
from tts_train.review.record.schema import MIGRATIONS
from tts_train.review.record.store import Store, database, verdicts_of
from tts_train.review.record.verdicts import MARKS, Verdict, current, parse_marks
from tts_train.review.recording import record_verdict

TABLES = (
    *("listeners", "verdicts", "verdict_heard", "verdict_markers", "verdict_words", "moves", "migrations"),
    *("profiles", "sessions", "trials", "stimuli", "answers", "closings"),
)
RELEASED = {1: "b583f0403506392326ede0045d1789fdc6186e4ed517f6f4215b469946d16ea6"}
"""Hashes of the statements of migrations that databases out there have run."""

FULL = Verdict(
    run="demo",
    epoch=3,
    listener="ann",
    heard=("good", "feature-missing"),
    markers={"BATH": "target", "FACE": "baseline"},
    words={"running": "dropped"},
    note="nearly",
    confidence=4,
    render_key=KEY,
)


SESSION_ROWS = (
    ("sessions", ("s", "demo", KEY, "ab", 1, 1, 7, 1, "0" * 64, "{}", "then")),
    ("trials", ("s", 1, "test", "passage", 0, None)),
    ("stimuli", ("s", 1, "first", "t1", "epoch-000", 0, "0" * 64, "base", 0.5, 2.0)),
    ("stimuli", ("s", 1, "second", "t2", "epoch-003", 0, "1" * 64, "w", 0.5, 2.0)),
    ("answers", (1, "s", 1, "first", None, 3, "{}", 0, "nonce", "then")),
    ("closings", ("s", 1, "then")),
)


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "artifacts/tts/reviews.db") as opened:
        opened.add_verdict(FULL)
        opened.add_move(
            {"epoch": 3, "move": "train-more", "basis": "verdicts"}, run="demo", child_run="c", config="c.yaml"
        )
        opened.add_profile("ann", region="Bolton", headphones=True)
        for table, values in SESSION_ROWS:
            opened._connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)
        yield opened


def test_a_verdict_comes_back_as_it_was_given(store: Store):
    (read,) = store.verdicts("demo")
    assert read.id == 1
    assert read.at
    assert (read.run, read.epoch, read.listener, read.note, read.confidence) == ("demo", 3, "ann", "nearly", 4)
    assert read.heard == ("feature-missing", "good")
    assert read.markers == FULL.markers
    assert read.words == FULL.words
    assert read.render_key == KEY
    assert store.verdicts("other") == []
    (move,) = store.moves("demo")
    assert (move["move"], move["child_run"], move["proposal"]["epoch"]) == ("train-more", "c", 3)


@pytest.mark.parametrize("table", TABLES)
def test_nothing_is_changed_or_deleted_by_anybody(store: Store, table: str):
    other = sqlite3.connect(store.path)
    columns = [row[1] for row in other.execute(f"PRAGMA table_info({table})")]
    before = other.execute(f"SELECT * FROM {table}").fetchall()
    assert before
    for attack in (
        f"UPDATE {table} SET {columns[-1]} = {columns[-1]}",
        f"DELETE FROM {table}",
        f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            other.execute(attack)
        other.rollback()
    assert other.execute(f"SELECT * FROM {table}").fetchall() == before


@pytest.mark.parametrize(
    "attack",
    [
        "INSERT OR REPLACE INTO listeners VALUES (99, 'ann', 'now')",
        "INSERT OR REPLACE INTO stimuli VALUES ('s', 1, 'x', 't1', 'target', 0, '', NULL, 0, 0)",
    ],
)
def test_nothing_is_replaced_by_its_other_key_either(store: Store, attack: str):
    other = sqlite3.connect(store.path)
    other.execute("PRAGMA foreign_keys = OFF")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        other.execute(attack)


def test_released_migrations_are_never_edited():
    assert {number: sha256_json(list(MIGRATIONS[number - 1][1])) for number in RELEASED} == RELEASED


def test_a_database_of_the_first_version_keeps_its_rows(tmp_path: Path):
    path = tmp_path / "reviews.db"
    old = sqlite3.connect(path)
    old.execute("PRAGMA journal_mode = WAL")
    old.execute("CREATE TABLE migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, at TEXT NOT NULL)")
    for statement in MIGRATIONS[0][1]:
        old.execute(statement)
    old.execute("INSERT INTO migrations VALUES (1, 'listeners, verdicts, moves', 'then')")
    old.execute("INSERT INTO listeners VALUES (1, 'ann', 'then')")
    old.execute("INSERT INTO verdicts VALUES (5, 'demo', 3, ?, 1, 'nearly', 4, 'then')", (KEY,))
    old.execute("INSERT INTO verdict_heard VALUES (5, 'good')")
    old.execute("INSERT INTO verdict_markers VALUES (5, 'BATH', 'target')")
    old.execute("INSERT INTO verdict_words VALUES (5, 'running', 'dropped')")
    old.execute("INSERT INTO moves VALUES (1, 'demo', 3, 'ship', 'verdicts', NULL, NULL, '{}', 'then')")
    old.commit()
    old.close()
    with Store(path) as store:
        (kept,) = store.verdicts("demo")
        assert (kept.id, kept.heard, kept.markers, kept.words) == (
            5,
            ("good",),
            {"BATH": "target"},
            {"running": "dropped"},
        )
        assert (kept.note, kept.confidence, kept.at, kept.render_key) == ("nearly", 4, "then", KEY)
        assert (kept.weights_sha256, kept.session, kept.blind, kept.region) == (None, None, False, "")
        assert [move["move"] for move in store.moves()] == ["ship"]
        store.add_verdict(FULL)
        assert [verdict.id for verdict in store.verdicts()] == [5, 6]
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            store._connection.execute("UPDATE verdicts SET weights_sha256 = 'x'")


def test_a_verdict_on_weights_that_are_no_more_is_stale(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    run = make_run(workspace, "demo", CONSTANT)
    record_verdict(workspace, Verdict("demo", 6, "ann", ("good",)))
    record_verdict(workspace, Verdict("demo", 0, "ann", ("good",)))
    with Store(database(workspace)) as store:
        store.add_verdict(Verdict("demo", 5, "ann", ("good",)))  # of the time when weights were not noted
    assert [verdict.epoch for verdict in verdicts_of(workspace, "demo")] == [6, 0, 5]
    for number in (5, 6):
        path = run.path / f"epochs/epoch-{number:03d}/epoch.json"
        write_json(path, {**read_json(path), "weights_sha256": "f" * 64})
    assert [verdict.epoch for verdict in verdicts_of(workspace, "demo")] == [0, 5]
    assert [verdict.epoch for verdict in verdicts_of(workspace, "demo", stale=True)] == [6, 0, 5]
    (run.path / "run.json").unlink()
    assert len(verdicts_of(workspace, "demo")) == 3, "of a run that is gone nothing is known to be stale"


def test_the_last_word_of_each_listener_counts_and_the_first_stays(store: Store):
    store.add_verdict(Verdict("demo", 3, "ann", ("mangled",)))
    store.add_verdict(Verdict("demo", 3, "bob", ("good",)))
    assert store.verdicts("demo")[0].heard == ("feature-missing", "good")
    assert [(verdict.listener, verdict.heard) for verdict in current(store.verdicts("demo"))] == [
        ("ann", ("mangled",)),
        ("bob", ("good",)),
    ]


def test_commits_are_synced_in_wal_mode(store: Store):
    assert store._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert store._connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert store._connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1


def test_migrations_are_recorded_and_later_ones_applied_once(store: Store, monkeypatch: pytest.MonkeyPatch):
    more = (*MIGRATIONS, ("later", ("ALTER TABLE listeners ADD COLUMN age INTEGER",)))
    monkeypatch.setattr(store_module, "MIGRATIONS", more)
    for _ in range(2):
        with Store(store.path) as later:
            rows = later._connection.execute("SELECT version, name FROM migrations ORDER BY version").fetchall()
            assert [tuple(row) for row in rows] == list(enumerate((name for name, _ in more), 1))
            assert later.verdicts("demo")[0].note == "nearly"
    monkeypatch.setattr(store_module, "MIGRATIONS", MIGRATIONS)
    with pytest.raises(InputUnusable, match="newer"):
        Store(store.path)


def test_a_migration_that_fails_leaves_nothing_behind(store: Store, monkeypatch: pytest.MonkeyPatch):
    broken = (*MIGRATIONS, ("broken", ("CREATE TABLE half (id INTEGER)", "CREATE TABLE verdicts (id INTEGER)")))
    monkeypatch.setattr(store_module, "MIGRATIONS", broken)
    with pytest.raises(DiskError):
        Store(store.path)
    tables = {row[0] for row in store._connection.execute("SELECT name FROM sqlite_master")}
    assert "half" not in tables


def test_a_verdict_that_fails_half_way_leaves_nothing_behind(store: Store):
    store._connection.execute(
        "CREATE TRIGGER full BEFORE INSERT ON verdict_words BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    with pytest.raises(sqlite3.IntegrityError):
        store.add_verdict(FULL)
    assert len(store.verdicts()) == 1
    store.add_verdict(Verdict("demo", 1, "ann", ("good",)))
    assert len(store.verdicts()) == 2


def test_asking_does_not_make_a_database(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    assert verdicts_of(workspace, "demo") == []
    assert not database(workspace).exists()


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path):
    path = tmp_path / "reviews.db"
    path.write_bytes(b"something else entirely, long enough to be read as a header" * 40)
    before = path.read_bytes()
    with pytest.raises(InputUnusable, match="not a usable database"):
        Store(path)
    assert path.read_bytes() == before


def test_a_held_store_is_busy(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_module, "WAIT_SECONDS", 0.1)
    with Store(store.path) as second:
        store._connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy):
            second.add_verdict(FULL)
        store._connection.execute("ROLLBACK")
        second.add_verdict(FULL)


WRITER = """
import sys
from pathlib import Path
from tts_train.review.record.store import Store
from tts_train.review.record.verdicts import Verdict
for number in range(60):
    with Store(Path(sys.argv[1])) as store:
        store.add_verdict(Verdict("demo", number, sys.argv[2], ("good",), note=f"{sys.argv[2]} {number}"))
"""


def test_two_writers_and_a_reader_from_an_empty_folder(tmp_path: Path):
    path = tmp_path / "reviews.db"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("ann", "bob")]
    seen = 0
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            with Store(path) as reader:
                now = len(reader.verdicts())
            assert now >= seen
            seen = now
        time.sleep(0.02)
    assert [writer.returncode for writer in writers] == [0, 0]
    with Store(path) as reader:
        notes = {verdict.note for verdict in reader.verdicts()}
    assert notes == {f"{name} {number}" for name in ("ann", "bob") for number in range(60)}


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export /mnt/share nfs4 rw 0 0
//nas/voices /mnt/with\\040space cifs rw 0 0
user@host: /home/me/remote fuse.sshfs rw 0 0
tmpfs /mnt/share/scratch tmpfs rw 0 0
server:/a /over nfs rw 0 0
/dev/sdb1 /over ext4 rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind", "refused"),
    [
        ("/srv/voices", "ext4", False),
        ("/mnt/share/voices/artifacts", "nfs4", True),
        ("/mnt/shared-not", "ext4", False),
        ("/mnt/with space/x", "cifs", True),
        ("/home/me/remote/x", "fuse.sshfs", True),
        ("/mnt/share/scratch/x", "tmpfs", False),
        ("/over/x", "ext4", False),
    ],
)
def test_network_file_systems_are_refused_by_the_mount_table(tmp_path: Path, folder: str, kind: str, refused: bool):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert mount_type(Path(folder), mounts) == kind
    if refused:
        with pytest.raises(DiskError, match=f"network file system \\({kind}\\)"):
            require_local_disk(Path(folder), mounts)
    else:
        require_local_disk(Path(folder), mounts)


def test_the_store_itself_asks_the_mount_table_before_it_writes(tmp_path: Path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/x {tmp_path} nfs rw 0 0\n")
    with pytest.raises(DiskError, match="network") as refused:
        Store(tmp_path / "artifacts/reviews.db", mounts)
    assert "--workspace" in refused.value.hint
    assert not (tmp_path / "artifacts").exists()


def test_the_command_records_what_was_heard(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    make_run(workspace, "demo", CONSTANT)
    said = ["--marker", "BATH=target", "--word", "running=dropped", "--note", "it's close", "--confidence", "3"]
    heard = ["--heard", "mangled", "--heard", "good"]
    result = run_script("verdict", "demo", "--epoch", "6", *heard, *said, "--listener", "ann", "--workspace", tmp_path)
    assert result["verdict"]["heard"] == ["mangled", "good"]
    assert result["verdict"]["render_key"] == KEY
    assert "next demo" in result["next"]
    (read,) = verdicts_of(workspace, "demo")
    assert (read.words, read.markers, read.note) == ({"running": "dropped"}, {"BATH": "target"}, "it's close")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--epoch", "9", "--heard", "good"], 78, "no epoch 9"),
        (["--epoch", "6", "--heard", "nice"], 2, "nice"),
        (["--epoch", "6", "--heard", "good", "--marker", "BATH=taget"], 2, "did you mean 'target'"),
    ],
)
def test_the_command_refuses_what_would_be_lost_evidence(tmp_path: Path, arguments: list[str], code: int, message: str):
    workspace = workspace_in(tmp_path)
    make_run(workspace, "demo", CONSTANT)
    error = run_script("verdict", "demo", *arguments, "--listener", "ann", "--workspace", tmp_path, code=code)
    assert message in error["message"]
    assert verdicts_of(workspace, "demo") == []


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (Verdict("demo", 6, "ann", ("good",), {"BAHT": "target"}), "did you mean 'BATH'"),
        (Verdict("demo", 6, "ann", ("good",), words={"runing": "dropped"}), "did you mean 'running'"),
        (Verdict("demo", 6, "YOUR-NAME", ("good",)), "stands for the listener's name"),
        (Verdict("demo", 6, "  ", ("good",)), "name of 1 to 64"),
    ],
)
def test_typos_and_placeholders_are_not_recorded(tmp_path: Path, verdict: Verdict, message: str):
    workspace = workspace_in(tmp_path)
    make_run(workspace, "demo", CONSTANT)
    with pytest.raises(UsageError, match=message):
        record_verdict(workspace, verdict)
    assert verdicts_of(workspace, "demo") == []
    recorded = record_verdict(
        workspace, Verdict("demo", 6, " ann  b ", ("good",), {"BATH": "target"}, {"Running": "dropped"})
    )
    assert recorded["verdict"]["listener"] == "ann b"


def test_marks_are_read_all_at_once():
    assert parse_marks(["BATH=target", " FOOT = overshot"], "--marker", MARKS) == {"BATH": "target", "FOOT": "overshot"}
    with pytest.raises(UsageError) as refused:
        parse_marks(["BATH", "=target", "FOOT=target", "FOOT=baseline", "KIT=nice"], "--marker", MARKS)
    assert len(refused.value.problems) == 4


def test_all_problems_of_a_verdict_come_at_once(tmp_path: Path):
    with Store(tmp_path / "reviews.db") as store, pytest.raises(UsageError) as refused:
        store.add_verdict(Verdict("demo", 1, "", (), {"BATH": "x"}, {"cup": "y"}, confidence=9))
    assert len(refused.value.problems) == 5
