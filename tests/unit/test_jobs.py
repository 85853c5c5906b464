"""Jobs with real processes: what they survive, how they end, and what is written down of that."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tts_train.errors import Busy, DiskError, InputUnusable, TtsTrainError, UsageError
from tts_train.files import locked
from tts_train.output import Serving
from tts_train.processes import identity, is_alive
from tts_train.work.background import control, record, submitting, supervisor
from tts_train.work.background.logfile import RotatingLog, added
from tts_train.workspace import Workspace, skill_root

SCRIPT = skill_root() / "scripts/jobs.py"
SAVES = """
import signal, sys, time
def save(number, frame):
    print("saved", file=sys.stderr)
    print('{"ok": false, "error": {"kind": "stopped", "message": "stopped by SIGTERM", "hint": "again"}}')
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(60)
"""
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
)


class Jobs:
    """Submits python programs in place of run.sh commands, and leaves none behind."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root)

    def submit(self, code: str, *arguments: str, **more: Any) -> str:
        program = [sys.executable, "-c", code]
        return str(submitting.submit(self.workspace, list(arguments), program=program, **more)["id"])

    def read(self, job: str) -> dict[str, Any]:
        return record.find(self.workspace, job).read()

    def log(self, job: str) -> str:
        return "\n".join(control.logs(self.workspace, job, lines=50)["lines"])

    def wait(self, job: str) -> dict[str, Any]:
        with_end = until(lambda: self.read(job), lambda row: row["state"] != "running")
        if not with_end["on_end"]:
            return with_end
        return until(lambda: self.read(job), lambda row: row["on_end"]["state"] in ("done", "failed"))

    def until_ready(self, job: str) -> None:
        until(lambda: self.log(job), lambda text: "ready" in text)


def until(read: Callable[[], Any], holds: Callable[[Any], bool], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not holds(value := read()):
        assert time.monotonic() < deadline, value
        time.sleep(0.05)
    return value


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    here = Jobs(tmp_path)
    yield here
    for job in record.everything(here.workspace):
        for process in (job.get("supervisor"), job.get("command")):
            if process and is_alive(process):
                os.kill(process["pid"], signal.SIGKILL)


def test_the_end_is_recorded_with_the_answer_and_both_streams_are_in_the_log(jobs: Jobs) -> None:
    answer = {"ok": True, "command": "x", "result": {"n": 3}}
    job = jobs.wait(jobs.submit(f"import sys; print('noise', file=sys.stderr); print({json.dumps(answer)!r})", "x"))

    assert (job["state"], job["exit_code"], job["signal"]) == ("ended", 0, None)
    assert job["answer"] == answer
    assert job["argv"] == ["x"]
    assert set(jobs.log(job["id"]).splitlines()) == {"noise", json.dumps(answer)}


def test_a_command_that_ends_at_once_is_no_failed_start(jobs: Jobs) -> None:
    ended = [jobs.wait(jobs.submit("import os; os._exit(0)"))["state"] for _ in range(5)]

    assert ended == ["ended"] * 5


def test_stop_lets_it_save_and_143_is_recorded(jobs: Jobs) -> None:
    job = jobs.submit(SAVES)
    jobs.until_ready(job)
    stopped = control.stop(jobs.workspace, job, timeout=20)

    assert (stopped["state"], stopped["exit_code"], stopped["signal"]) == ("stopped", 143, None)
    assert "saved" in jobs.log(job)
    with pytest.raises(control.JobFailed) as failed:
        control.wait(jobs.workspace, job)
    assert failed.value.exit_code == 143
    assert "stopped by SIGTERM" in failed.value.message


@pytest.mark.parametrize("who", ["supervisor", "command"])
def test_a_shutdown_lets_it_save_too(jobs: Jobs, who: str) -> None:
    job = jobs.submit(SAVES)
    jobs.until_ready(job)
    os.kill(jobs.read(job)[who]["pid"], signal.SIGTERM)
    ended = jobs.wait(job)

    assert (ended["state"], ended["exit_code"], ended["stop"]) == ("stopped", 143, None)
    assert ended["answer"]["error"]["kind"] == "stopped"


def test_only_kill_ends_what_does_not_listen(jobs: Jobs) -> None:
    job = jobs.submit(STUBBORN)
    jobs.until_ready(job)
    with pytest.raises(Busy, match="still runs"):
        control.stop(jobs.workspace, job, timeout=0.5)
    assert jobs.read(job)["state"] == "running"

    stopped = control.stop(jobs.workspace, job, timeout=0.5, kill=True)

    assert (stopped["state"], stopped["exit_code"], stopped["signal"]) == ("stopped", 137, "SIGKILL")


def test_killed_by_a_stranger_is_failed(jobs: Jobs) -> None:
    job = jobs.submit(STUBBORN)
    jobs.until_ready(job)
    os.kill(jobs.read(job)["command"]["pid"], signal.SIGKILL)

    ended = jobs.wait(job)
    assert (ended["state"], ended["exit_code"], ended["signal"]) == ("failed", 137, "SIGKILL")


def test_a_killed_supervisor_is_lost_and_the_command_saves_and_ends(jobs: Jobs) -> None:
    job = jobs.submit(SAVES, name="night")
    jobs.until_ready(job)
    row = jobs.read(job)
    os.kill(row["supervisor"]["pid"], signal.SIGKILL)

    assert until(lambda: jobs.read(job), lambda now: now["state"] != "running")["state"] == "lost"
    until(lambda: is_alive(row["command"]), lambda alive: not alive)
    with pytest.raises(control.JobFailed, match="lost") as failed:
        control.wait(jobs.workspace, job)
    assert failed.value.exit_code == 137
    assert jobs.wait(jobs.submit("pass", name="night"))["state"] == "ended"


def test_a_command_that_outlives_its_supervisor_keeps_its_name_and_can_be_stopped(jobs: Jobs) -> None:
    job = jobs.submit(STUBBORN, name="night")
    jobs.until_ready(job)
    os.kill(jobs.read(job)["supervisor"]["pid"], signal.SIGKILL)
    until(lambda: jobs.read(job), lambda now: now["state"] == "lost")

    with pytest.raises(Busy):
        jobs.submit("pass", name="night")
    assert control.list_jobs(jobs.workspace)["jobs"][0]["command_alive"]
    control.stop(jobs.workspace, job, timeout=0.3, kill=True)
    assert not control.list_jobs(jobs.workspace)["jobs"][0]["command_alive"]


@pytest.mark.parametrize("change", [{"started": 1.0}, {"boot_id": "another"}])
def test_a_pid_alone_is_nobody(jobs: Jobs, change: dict[str, Any]) -> None:
    job = jobs.submit(STUBBORN)
    folder = record.find(jobs.workspace, job)
    written = json.loads(folder.record.read_text())

    assert record.state(written) == "running"
    assert record.state({**written, "supervisor": {**written["supervisor"], **change}}) == "lost"


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    until(lambda: Path(f"/proc/{process.pid}/stat").read_text(), lambda text: ") Z" in text)
    who = identity(process.pid)

    assert not is_alive(who)
    process.wait()


def test_jobs_of_another_host_live_by_their_heartbeat(jobs: Jobs) -> None:
    job = jobs.read(jobs.submit(STUBBORN))
    elsewhere = {**job, "supervisor": {**job["supervisor"], "host": "elsewhere"}}

    assert record.state(elsewhere) == "running"
    assert record.state({**elsewhere, "heartbeat_at": "2020-01-01T00:00:00+00:00"}) == "lost"


def test_a_second_job_of_a_name_waits_its_turn(jobs: Jobs) -> None:
    first = jobs.submit(SAVES, name="night")
    jobs.until_ready(first)
    with pytest.raises(Busy, match=rf"{first} \(pid \d+ on .*, since .*, last heartbeat") as busy:
        jobs.submit("pass", name="night")
    assert busy.value.exit_code == 75
    assert len(record.everything(jobs.workspace)) == 1
    jobs.wait(jobs.submit("pass", name="other"))
    control.stop(jobs.workspace, "night", timeout=20)

    assert jobs.wait(jobs.submit("pass", name="night"))["state"] == "ended"


def submitter(jobs: Jobs) -> subprocess.Popen[bytes]:
    """A program that submits the job `night`; 75 when it may not."""
    code = (
        f"import sys; sys.path.insert(0, {str(skill_root() / 'src')!r})\n"
        "from pathlib import Path\nfrom tts_train.errors import Busy\n"
        "from tts_train.work.background.submitting import submit\nfrom tts_train.workspace import Workspace\n"
        f"program = [sys.executable, '-c', {STUBBORN!r}]\n"
        f"try: submit(Workspace(Path({str(jobs.workspace.root)!r})), [], name='night', program=program)\n"
        "except Busy: sys.exit(75)"
    )
    return subprocess.Popen([sys.executable, "-c", code])


def test_of_many_submits_of_one_name_at_once_one_runs(jobs: Jobs) -> None:
    with locked(record.jobs_folder(jobs.workspace) / ".lock"):
        submitters = [submitter(jobs) for _ in range(5)]
        time.sleep(0.7)
        assert record.everything(jobs.workspace) == [], "looking and starting are one step: others wait"

    assert sorted(process.wait() for process in submitters) == [0, 75, 75, 75, 75]
    assert len(record.everything(jobs.workspace)) == 1


def test_on_end_runs_once_with_its_arguments_as_they_are(jobs: Jobs, tmp_path: Path) -> None:
    seen = tmp_path / "seen.jsonl"
    code = (
        "import json, os, sys\nwith open(sys.argv[1], 'a') as file:\n"
        "    variables = {k: v for k, v in os.environ.items() if k.startswith('TTS_TRAIN_JOB_')}\n"
        "    print(json.dumps([sys.argv[2:], variables]), file=file)"
    )
    odd = ["a b", "$(touch hacked)", "; rm -rf x", "%s", "", "ü'\""]
    job = jobs.wait(
        jobs.submit("raise SystemExit(65)", "x", name="n", on_end=[sys.executable, "-c", code, str(seen), *odd])
    )
    lines = [json.loads(line) for line in seen.read_text().splitlines()]

    assert len(lines) == 1
    arguments, variables = lines[0]
    assert arguments == odd
    assert (variables["TTS_TRAIN_JOB_STATE"], variables["TTS_TRAIN_JOB_EXIT_CODE"]) == ("failed", "65")
    assert (variables["TTS_TRAIN_JOB_ID"], variables["TTS_TRAIN_JOB_NAME"]) == (job["id"], "n")
    assert json.loads(Path(variables["TTS_TRAIN_JOB_RECORD"]).read_text())["exit_code"] == 65
    assert job["on_end"]["state"] == "done"


@pytest.mark.parametrize("on_end", [["/no/such/program"], [sys.executable, "-c", "raise SystemExit(3)"]])
def test_a_failing_on_end_is_recorded_and_shown(jobs: Jobs, on_end: list[str]) -> None:
    job = jobs.wait(jobs.submit("pass", on_end=on_end))

    assert job["state"] == "ended"
    assert job["on_end"]["state"] == "failed"
    assert job["on_end"].get("exit_code") == 3 or "not started" in job["on_end"]["error"]
    assert "--on-end failed" in control.list_jobs(jobs.workspace)["text"]


def test_the_log_is_bounded_whatever_is_printed(jobs: Jobs) -> None:
    million = 1_000_000
    code = (
        f"import sys\nfor n in range(50): sys.stdout.write((f'{{n:02d}}' * {million // 2})[:-1] + '\\n')\nprint('last')"
    )
    job = jobs.submit(code, piece_bytes=million)
    jobs.wait(job)
    pieces = sorted(record.find(jobs.workspace, job).path.glob("log.txt*"))

    assert [path.name for path in pieces] == ["log.txt", "log.txt.1", "log.txt.2", "log.txt.3", "log.txt.4"]
    assert all(path.stat().st_size <= million for path in pieces)
    assert sum(path.stat().st_size for path in pieces) > 4 * million
    *_, before, last = control.logs(jobs.workspace, job, lines=3)["lines"]
    assert (last, before[:4], len(before)) == ("last", "4949", million - 1)
    assert jobs.read(job)["log_lost_bytes"] == 0


def test_a_full_disk_costs_log_and_nothing_else() -> None:
    with RotatingLog(Path("/dev/full")) as log:
        log.write(b"lost")

        assert log.lost_bytes == 4


def test_the_end_waits_for_a_disk_that_is_full_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = {"workspace": str(tmp_path), "id": "j", "name": None, "argv": [], "cwd": "/", "on_end": []}
    answers = [DiskError("full"), DiskError("full"), None]

    def write(path: Path, value: Any) -> None:
        if error := answers.pop(0):
            raise error

    monkeypatch.setattr(supervisor, "write_json", write)
    monkeypatch.setattr(supervisor, "_SECONDS_BETWEEN_TRIES", 0.0)
    supervisor.Supervisor(order).save()

    assert answers == []


def test_follow_prints_what_is_added_over_rotations(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import time\nprint('ready', flush=True); time.sleep(1)\n"
        "for n in range(300): print(n, flush=True); time.sleep(.002)"
    )
    job = jobs.submit(code, piece_bytes=400)
    jobs.until_ready(job)
    log = record.find(jobs.workspace, job).log
    text = b"".join(added(log, len("ready"), lambda: jobs.read(job)["state"] != "running", seconds=0.01)).decode()

    assert text.split() == [str(n) for n in range(300)]
    with pytest.raises(UsageError):
        control.logs(jobs.workspace, job, lines=5, follow=True)
    monkeypatch.setattr(sys, "argv", ["jobs", "--human"])
    assert isinstance(control.logs(jobs.workspace, job, lines=5, follow=True), Serving)


def test_programs_left_behind_do_not_hold_the_job(jobs: Jobs) -> None:
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
    job = jobs.wait(jobs.submit(code))

    assert job["state"] == "ended"
    left = int(jobs.log(job["id"]))
    until(
        lambda: Path(f"/proc/{left}").exists() and ") Z" not in Path(f"/proc/{left}/stat").read_text(),
        lambda there: not there,
    )


def test_no_zombie_is_left_and_no_child(jobs: Jobs) -> None:
    before = {child.pid for child in psutil.Process().children()}  # multiprocessing's, of another test
    row = jobs.wait(jobs.submit("pass"))
    until(lambda: is_alive(row["supervisor"]), lambda alive: not alive)
    after = {child.pid for child in psutil.Process().children()}

    assert after <= before, "a submitter that lives on would have zombies"
    assert not Path(f"/proc/{row['command']['pid']}").exists()


def test_survives_the_end_of_the_terminal_and_kill_9_of_the_submitter(jobs: Jobs) -> None:
    """The submitter is the leader of a terminal's session: its end hangs the terminal up."""
    code = (
        f"import sys, time; sys.path.insert(0, {str(skill_root() / 'src')!r})\n"
        "from pathlib import Path\n"
        "from tts_train.work.background.submitting import submit\nfrom tts_train.workspace import Workspace\n"
        f"program = [sys.executable, '-c', {SAVES!r}]\n"
        f"submit(Workspace(Path({str(jobs.workspace.root)!r})), [], program=program)\ntime.sleep(60)"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    (job,) = until(
        lambda: record.everything(jobs.workspace), lambda rows: bool(rows) and rows[0]["command"] is not None
    )
    jobs.until_ready(job["id"])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(terminal)
    time.sleep(0.5)

    assert jobs.read(job["id"])["state"] == "running"
    assert is_alive(job["command"])
    assert os.getsid(job["command"]["pid"]) != pid
    assert control.stop(jobs.workspace, job["id"], timeout=20)["exit_code"] == 143


def test_secrets_are_in_no_file_and_reach_the_command(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "canary-env")
    code = "import os, sys; raise SystemExit(0 if sys.argv[2] == 'canary-1' and os.environ['HF_TOKEN'] else 1)"
    on_end = [sys.executable, "-c", "pass", "--api-key", "canary-3", "HF_TOKEN=canary-4"]
    job = jobs.wait(jobs.submit(code, "--hf-token", "canary-1", "--password=canary-2", "--lr", "1", on_end=on_end))

    assert job["exit_code"] == 0
    assert job["argv"] == ["--hf-token", "***", "--password=***", "--lr", "1"]
    files = [path for path in jobs.workspace.root.rglob("*") if path.is_file()]
    assert [path for path in files if "canary" in path.read_text()] == []
    assert "canary" not in json.dumps(control.list_jobs(jobs.workspace))


def test_a_program_that_is_not_there_is_told_at_once_and_recorded(jobs: Jobs) -> None:
    with pytest.raises(TtsTrainError, match="cannot start"):
        submitting.submit(jobs.workspace, ["x"], program=["/no/such/run.sh"])

    (job,) = record.everything(jobs.workspace)
    assert (job["state"], job["exit_code"]) == ("failed", 127)


def test_wait_gives_up_with_75_and_a_broken_job_hides_no_other(jobs: Jobs) -> None:
    job = jobs.submit(STUBBORN)
    with pytest.raises(Busy):
        control.wait(jobs.workspace, job, timeout=0.2)
    torn = record.jobs_folder(jobs.workspace) / "20200101-000000-000000"
    torn.mkdir()
    (torn / "job.json").write_text('{"id":')

    assert [row["state"] for row in control.list_jobs(jobs.workspace)["jobs"]] == ["unreadable", "running"]
    with pytest.raises(InputUnusable, match="no job"):
        record.find(jobs.workspace, "nobody")
    with pytest.raises(TtsTrainError):
        record.find(jobs.workspace, "../x")


def program(*arguments: str, root: Path) -> tuple[int, dict[str, Any]]:
    environment = {**os.environ, "PYTHONPATH": str(skill_root() / "src"), "TTS_TRAIN_WORKSPACE": str(root)}
    finished = subprocess.run(
        [sys.executable, "-P", SCRIPT, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    return finished.returncode, json.loads(finished.stdout)


def test_the_command_line_passes_on_what_follows_the_dashes(tmp_path: Path) -> None:
    """Also --human and --help, which every command of ours would take for itself."""
    code, answer = program("submit", "--name", "n", "--", "runs", "--help", "--human", "--", "--x", root=tmp_path)
    job = answer["result"]["id"]

    assert code == 0
    code, answer = program("wait", "n", "--timeout", "60", root=tmp_path)
    assert record.find(Workspace(tmp_path), job).read()["argv"] == ["runs", "--help", "--human", "--", "--x"]
    assert (code, answer["ok"]) == (0, True)
    code, answer = program("submit", "--", "no-such-command", root=tmp_path)
    assert (code, answer["error"]["kind"]) == (2, "usage")
    code, answer = program("logs", job, "--follow", root=tmp_path)
    assert (code, answer["error"]["kind"]) == (2, "usage")


def test_wait_exits_with_the_code_of_the_command(tmp_path: Path) -> None:
    _, answer = program("submit", "--", "status", "nobody", root=tmp_path)
    code, answer = program("wait", answer["result"]["id"], root=tmp_path)

    assert code == 65
    assert answer["error"]["kind"] == "job-failed"
    assert answer["error"]["job"]["answer"]["error"]["kind"] == "input-unusable"
