"""Campaigns with real processes: order, limits, failures, and what is left after kills. The steps are stand-ins."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import campaign_commands as commands
import kills
from tts_train.files import locked
from tts_train.output import answer_of
from tts_train.processes import is_alive
from tts_train.work.campaign import outlook, running
from tts_train.work.campaign.campaign import campaign
from tts_train.work.campaign.limits import Limits
from tts_train.workspace import Workspace

pytestmark = pytest.mark.faults

THREE = {"a": "end", "b": "never", "c": "never"}


@pytest.fixture(autouse=True)
def _stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = commands.stand_in(tmp_path / "stand-in")
    for module in (outlook, running):
        monkeypatch.setattr(module, "skill_root", lambda: folder)


def run(
    place: Path, configs: list[str], *, hours: float | None = None, keep_free: float = 0.0, dry_run: bool = False
) -> tuple[int, dict[str, Any]]:
    """The command in this process; a campaign that is to be killed is started in one of its own."""
    limits = Limits(hours, keep_free, None)
    paths = [place / config for config in configs]
    answer, code = answer_of(
        "campaign", lambda: campaign(Workspace(place), paths, name="night", limits=limits, dry_run=dry_run)
    )
    return code, answer


def started(place: Path, configs: list[str]) -> subprocess.Popen[str]:
    return commands.start(place, *configs, "--name", "night")


def finish(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    stdout, _ = process.communicate(timeout=60)
    return process.returncode, json.loads(stdout)


def record(place: Path, name: str = "night") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / f"artifacts/tts/campaigns/{name}/campaign.json").read_text())
    return found


def states(place: Path) -> dict[str, str]:
    return {row["id"]: row["state"] for row in record(place)["steps"]}


def until_works(place: Path, step: str, sign: str) -> dict[str, Any]:
    """The row of a step that runs and has left `sign` on disk: it holds its lock by then, and can save."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if (place / sign).exists():
            row = next(row for row in record(place)["steps"] if row["id"] == step)
            if row["state"] == "running":
                return dict(row)
        time.sleep(0.02)
    raise AssertionError(f"{step} does not run: {(place / 'said.txt').read_text()}")


def until_new_step(place: Path, process: subprocess.Popen[str], pids: set[int]) -> str | None:
    """The id of the next step that runs in a process not among `pids`, which it joins; None at the campaign's end."""
    while process.poll() is None:
        if (place / "artifacts/tts/campaigns/night/campaign.json").exists():
            for row in record(place)["steps"]:
                if row["process"] and row["process"]["pid"] not in pids:
                    pids.add(row["process"]["pid"])
                    return str(row["id"])
        time.sleep(0.01)
    process.communicate()
    return None


def test_configs_are_done_in_order_and_a_shared_dataset_is_made_once(tmp_path: Path) -> None:
    configs = commands.workspace(tmp_path, THREE)

    code, answer = run(tmp_path, configs, hours=5)

    assert (code, answer["result"]["state"]) == (0, "done")
    rows = record(tmp_path)["steps"]
    assert [row["id"] for row in rows] == ["ingest-ann", "train-a", "probe-a", "train-b", "train-c"]
    assert {(row["state"], row["exit"], row["process"]) for row in rows} == {("done", 0, None)}
    assert rows[0]["argv"] == ["ingest", "books/book.flac", "ann", "datasets/ann", "--card", "books/card.yaml"]
    assert [row["started_at"] for row in rows] == sorted(row["started_at"] for row in rows)
    assert all((tmp_path / row["log"]).is_file() for row in rows)
    ears = {item["run"]: item for item in answer["result"]["waiting_for_ears"]}
    assert ears["a"]["best_epoch"] == 2, "the most like the target of those that pass the gates"
    assert "session new a" in ears["a"]["listen"]
    assert ears["b"]["best_epoch"] is None, "nothing was measured"

    code, again = run(tmp_path, configs, hours=5)

    assert (code, again["result"]["nothing_left_to_do"]) == (0, True)
    assert record(tmp_path)["steps"] == rows


def test_kills_at_random_change_no_byte(tmp_path: Path) -> None:
    """kill -9 of the campaign alone (its step saves, holds the lock, and must not be run into) and of all."""
    configs = commands.workspace(tmp_path / "whole", THREE, epochs=1)
    run(tmp_path / "whole", configs)
    expected = commands.everything(tmp_path / "whole")
    assert len(expected) == 1 + commands.CLIPS + 3 + 2
    place = tmp_path / "killed"
    commands.workspace(place, THREE, epochs=1)
    chance = random.Random(kills.day())

    killed = list[str]()
    pids = set[int]()
    for number in range(3):
        process = started(place, configs)
        step = until_new_step(place, process, pids)
        if step is None:  # a quick machine is done before the third
            break
        time.sleep(0.4 * chance.random())
        commands.kill(process, alone=number != 1)
        killed.append(step)
    code, answer = run(place, configs)

    assert code == 0, answer
    assert len(killed) >= 2
    assert commands.everything(place) == expected
    assert set(states(place).values()) == {"done"}


def test_the_orphan_of_a_killed_campaign_is_waited_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    configs = commands.workspace(tmp_path, {"a": "never"}, epochs=3)
    first = started(tmp_path, configs)
    step = until_works(tmp_path, "train-a", "artifacts/tts/a/status.json")
    (tmp_path / "save.waits").write_text("1.5")
    commands.kill(first, alone=True)
    assert is_alive(step["process"]), "it saves"

    code, _ = run(tmp_path, configs)

    assert code == 0
    said = capfd.readouterr().err
    assert "train-a of the start before still runs" in said
    assert "in use by" not in said


def test_a_step_that_somebody_else_holds_is_tried_again(tmp_path: Path) -> None:
    configs = commands.workspace(tmp_path, {"a": "never"})
    with locked(tmp_path / "datasets/ann/.lock"):
        process = started(tmp_path, configs)
        said = tmp_path / "said.txt"
        while "campaign: waits: ingest-ann: " not in said.read_text():
            assert process.poll() is None, said.read_text()
            time.sleep(0.02)
        assert states(tmp_path)["ingest-ann"] in ("waiting", "running")

    assert finish(process)[0] == 0
    assert "is in use by" in said.read_text()


def test_a_second_start_is_refused_with_the_holder(tmp_path: Path) -> None:
    configs = commands.workspace(tmp_path, {"a": "never"})
    (tmp_path / "ingest.waits").write_text("20")
    process = started(tmp_path, configs)
    until_works(tmp_path, "ingest-ann", "artifacts/tts/campaigns/night/logs/ingest-ann.txt")

    code, answer = run(tmp_path, configs)
    process.terminate()

    assert code == 75
    assert str(process.pid) in answer["error"]["message"]
    assert finish(process)[0] == 143


def test_a_signal_lets_the_step_save_and_the_same_command_goes_on(tmp_path: Path) -> None:
    configs = commands.workspace(tmp_path, {"a": "never"}, epochs=3)
    process = started(tmp_path, configs)
    until_works(tmp_path, "train-a", "artifacts/tts/a/status.json")
    process.send_signal(signal.SIGINT)

    code, answer = finish(process)

    assert (code, answer["error"]["kind"]) == (130, "stopped")
    assert (record(tmp_path)["state"], states(tmp_path)) == ("stopped", {"ingest-ann": "done", "train-a": "stopped"})
    assert record(tmp_path)["steps"][1]["exit"] == 143
    assert run(tmp_path, configs)[0] == 0


def test_out_of_hours_the_step_saves_and_the_code_is_0(tmp_path: Path) -> None:
    configs = commands.workspace(tmp_path, {"a": "never"})
    (tmp_path / "ingest.waits").write_text("20")

    code, answer = run(tmp_path, configs, hours=0.5 / 3600)

    assert (code, answer["result"]["state"]) == (0, "stopped")
    assert "out of hours" in answer["result"]["reason"]
    assert states(tmp_path) == {"ingest-ann": "stopped", "train-a": "waiting"}


def test_a_disk_that_gets_short_ends_it_before_the_step(tmp_path: Path) -> None:
    """The stand-in's plan says that ingest takes 0.5 GB."""
    configs = commands.workspace(tmp_path, {"a": "never"})
    free = shutil.disk_usage(tmp_path).free / 1e9

    code, answer = run(tmp_path, configs, keep_free=free - 0.3)

    assert (code, answer["error"]["kind"]) == (74, "disk")
    assert "the next step takes about 0.5 GB" in answer["error"]["message"]
    assert states(tmp_path) == {"ingest-ann": "waiting", "train-a": "waiting"}


def test_a_failed_config_holds_up_no_other_and_is_tried_again_by_the_next_start(tmp_path: Path) -> None:
    configs = commands.workspace(tmp_path, {"a": "end", "b": "never"})
    (tmp_path / "probe.fails").write_text("70")

    code, answer = run(tmp_path, configs)

    assert (code, answer["error"]["kind"]) == (70, "campaign-failed")
    assert states(tmp_path) == {"ingest-ann": "done", "train-a": "done", "probe-a": "failed", "train-b": "done"}
    assert record(tmp_path)["steps"][2]["reason"] == "as asked"
    (tmp_path / "probe.fails").unlink()
    assert run(tmp_path, configs)[0] == 0
    assert set(states(tmp_path).values()) == {"done"}


def test_what_needs_a_failed_step_is_skipped_with_its_reason(tmp_path: Path) -> None:
    configs = commands.workspace(tmp_path, {"a": "end", "b": "never"})
    (tmp_path / "ingest.fails").write_text("65")

    code, _ = run(tmp_path, configs)

    assert code == 65
    rows = {row["id"]: row for row in record(tmp_path)["steps"]}
    assert [rows[name]["state"] for name in ("ingest-ann", "train-a", "probe-a", "train-b")] == [
        "failed",
        "skipped",
        "skipped",
        "skipped",
    ]
    assert rows["probe-a"]["reason"] == "train-a: ingest-ann: as asked"


def test_a_plan_starts_nothing_and_adds_up_what_is_known(tmp_path: Path) -> None:
    configs = commands.workspace(tmp_path, {"a": "end"})

    code, answer = run(tmp_path, configs, dry_run=True)

    assert code == 0
    assert answer["result"]["estimate"] == {"hours": 0.1, "disk_gb": 0.5, "unknown": ["train-a", "probe-a"]}
    assert not (tmp_path / "datasets").exists()
    assert not (tmp_path / "artifacts").exists()
