"""Engine.map, inline and on processes: order, look-ahead, exceptions, and what becomes of the workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import engine_work
from tts_train.engine import engine
from tts_train.engine.pool import Pool
from tts_train.errors import DiskError, InputUnusable, TtsTrainError

HERE = str(Path(__file__).parents[1])
Start = Literal["spawn", "fork"]
each_start = pytest.mark.parametrize("start", ["spawn", "fork"])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pid: int) -> bool:
    return any(time.sleep(0.05) or not is_alive(pid) for _ in range(200))


@each_start
@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_results_come_in_the_order_of_the_pieces(jobs: int, start: Start) -> None:
    with engine(jobs, start=start) as run:
        assert run.jobs == jobs
        assert list(run.map(engine_work.slow_square, iter(range(7)))) == [number * number for number in range(7)]
        assert list(run.map(engine_work.slow_square, [])) == []


def test_workers_are_processes_that_keep_what_they_loaded() -> None:
    pieces = [np.full(1000, number, np.float32) for number in range(6)]
    with engine(2) as run:
        results = list(run.map(partial(engine_work.energy, 0.5), pieces))
        counts = list(run.map(engine_work.loads, range(6)))
        assert run.peak_rss_mib() > 2 * 20

    assert [value for value, _ in results] == [1000 * number**2 + 0.5 for number in range(6)]
    assert os.getpid() not in {pid for _, pid in results}
    assert max(counts) > 1, "each piece in a fresh process"
    assert engine_work.loaded() == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_piece_waits_at_most_while_the_others_are_worked(jobs: int, tmp_path: Path) -> None:
    unfinished: list[int] = []

    def pieces() -> Iterator[str]:
        for number in range(8):
            unfinished.append(number + 1 - len(list(tmp_path.iterdir())))
            yield str(tmp_path / str(number))

    with engine(jobs) as run:
        list(run.map(engine_work.leave_mark, pieces()))
    assert len(unfinished) == 8
    assert max(unfinished) <= (jobs + 1 if jobs > 1 else 1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_first_exception_is_raised_with_its_hint_and_ends_the_work(jobs: int) -> None:
    seen: list[int] = []
    with pytest.raises(InputUnusable, match="piece three") as caught, engine(jobs) as run:
        seen.extend(run.map(engine_work.refuse, range(100)))

    assert caught.value.hint == "leave it out"
    assert caught.value.exit_code == 65


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_exception_that_cannot_travel_arrives_as_a_bug_with_its_name(
    jobs: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TtsTrainError, match="Odd: 1 and 2"), engine(jobs) as run:
        list(run.map(engine_work.break_oddly, range(2)))

    assert "break_oddly" in capfd.readouterr().err


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_ours_travels_whatever_its_arguments(jobs: int) -> None:
    with pytest.raises(engine_work.Particular, match=r"^piece 0: too loud$") as caught, engine(jobs) as run:
        list(run.map(engine_work.refuse_particularly, range(1)))

    assert (caught.value.piece, caught.value.hint, caught.value.exit_code) == (0, "leave it out", 65)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    ("work", "kind", "told"),
    [
        (engine_work.refuse, InputUnusable, "clip 3: piece three"),
        (engine_work.fill_the_disk, DiskError, r"clip \d: .*No space left"),
        (engine_work.break_oddly, TtsTrainError, r"clip \d: Odd: 1 and 2"),
    ],
)
def test_errors_name_their_piece_and_keep_their_kind(
    jobs: int, work: Callable[[int], int], kind: type[TtsTrainError], told: str
) -> None:
    with pytest.raises(kind, match=f"^{told}") as caught, engine(jobs, describe="clip {}".format) as run:
        list(run.map(work, range(5)))

    assert type(caught.value) is kind
    assert caught.value.as_json()["message"] == str(caught.value)


@each_start
def test_a_killed_worker_is_an_error_and_not_a_hang(start: Start) -> None:
    with (
        pytest.raises(TtsTrainError, match=r"died \(SIGKILL\) at clip 2$") as caught,
        engine(2, start=start, describe="clip {}".format) as run,
    ):
        list(run.map(engine_work.die, range(5)))

    assert "memory" in caught.value.hint


def test_a_worker_killed_in_the_middle_of_its_answer_is_no_fault_of_the_disk() -> None:
    with pytest.raises(TtsTrainError, match=r"died \(SIGKILL\)$"), engine(2) as run:
        list(run.map(engine_work.die_while_answering, range(1)))


def test_forks_have_what_their_parent_loaded_and_spawned_workers_do_not() -> None:
    engine_work.loaded().append(-1)
    try:
        with engine(2, start="fork") as run:
            assert set(run.map(engine_work.first_loaded, range(2))) == {-1}
        with engine(2) as run:
            assert set(run.map(engine_work.first_loaded, range(2))) <= {0, 1}
    finally:
        engine_work.loaded.cache_clear()


@each_start
def test_idle_workers_end_at_once(start: Start) -> None:
    with engine(3, start=start) as run:
        assert isinstance(run, Pool)
        list(run.map(engine_work.slow_square, range(6)))
        processes = [worker.process for worker in run._workers]
        assert len(processes) == 3
        for worker in run._workers:
            worker.pipe.close()
        for process in processes:
            process.join(5)
            assert process.exitcode == 0


def test_a_worker_killed_between_pieces_is_replaced() -> None:
    with engine(2) as run:
        pids = set(run.map(engine_work.own_pid, range(4)))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it is gone, and nobody has asked for it yet

        assert pids.isdisjoint(run.map(engine_work.own_pid, range(4)))


def test_a_worker_killed_while_a_piece_is_handed_over_is_an_error_that_says_so() -> None:
    more_than_a_pipe_holds = np.zeros(1 << 24, np.uint8)
    with engine(2) as run:
        assert isinstance(run, Pool)
        threading.Thread(target=_kill_the_first, args=(run,)).start()
        with pytest.raises(TtsTrainError, match="SIGKILL"):
            list(run.map(engine_work.own_pid, [more_than_a_pipe_holds]))


def _kill_the_first(run: Pool) -> None:
    while not run._workers:
        time.sleep(0.001)
    time.sleep(0.02)  # it is still starting
    run._workers[0].process.kill()


def test_a_caller_who_stops_early_gets_no_stale_answers_later() -> None:
    with engine(2) as run:
        answers = run.map(engine_work.slow_square, range(6))
        assert next(answers) == 0
        answers.close()  # type: ignore[attr-defined]

        assert list(run.map(engine_work.refuse, range(3))) == [0, 1, 2]


def test_no_worker_outlives_the_block() -> None:
    with engine(2) as run:
        pids = set(run.map(engine_work.own_pid, range(4)))

    assert not any(is_alive(pid) for pid in pids)


# --- a process that is stopped


def started(folder: Path, work: str, start: Start, jobs: int, grace: float, begun: int) -> subprocess.Popen[str]:
    """A process with a pool that works on `folder`'s pieces 0 to 4, when `begun` pieces are being worked on."""
    program = (
        f"import sys; sys.path.insert(0, {HERE!r})\n"
        "import engine_work\n"
        "from tts_train.engine import engine, pool\n"
        "from tts_train.output import guarded_stdout\n"
        "if __name__ == '__main__':\n"
        f"    pool.GRACE_SECONDS = {grace}\n"
        f"    with guarded_stdout(), engine({jobs}, start={start!r}) as run:\n"
        f"        list(run.map(engine_work.{work}, [f'{folder}/{{number}}' for number in range(5)]))\n"
    )
    (folder / "program.py").write_text(program)
    process = subprocess.Popen(
        [sys.executable, str(folder / "program.py")], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    for _ in range(400):
        if len(workers_of(folder)) == begun:
            return process
        time.sleep(0.05)
    process.kill()
    raise AssertionError(process.communicate()[1])


def workers_of(folder: Path) -> set[int]:
    """The processes that have begun a piece."""
    return {int(told) for place in folder.glob("[0-4]") if (told := place.read_text())}


@each_start
@pytest.mark.parametrize(
    ("number", "to_group"), [(signal.SIGTERM, True), (signal.SIGTERM, False), (signal.SIGKILL, False)]
)
def test_a_signal_ends_the_workers_in_the_middle_of_a_long_piece(
    tmp_path: Path, start: Start, number: int, to_group: bool
) -> None:
    process = started(tmp_path, "hang", start, 3, grace=0.5, begun=3)
    try:
        workers = workers_of(tmp_path)
        if to_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, told = process.communicate(timeout=20)
    finally:
        process.kill()

    assert all(wait_until_gone(pid) for pid in workers)
    assert "leaked" not in told
    if number == signal.SIGTERM:
        assert "KeyboardInterrupt" in told


@each_start
@pytest.mark.parametrize("to_group", [True, False])
def test_a_signal_lets_the_workers_finish_their_pieces_and_begin_no_other(
    tmp_path: Path, start: Start, to_group: bool
) -> None:
    process = started(tmp_path, "finish", start, 2, grace=20.0, begun=2)
    try:
        (os.killpg if to_group else os.kill)(process.pid, signal.SIGTERM)
        _, told = process.communicate(timeout=15)
    finally:
        process.kill()

    assert {place.name for place in tmp_path.glob("[0-4]*")} == {"0", "1", "0-finished", "1-finished"}
    assert "a second signal does not wait" in told
    assert "Error" not in told.replace("KeyboardInterrupt", "")


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    process = started(tmp_path, "hang", "fork", 2, grace=60.0, begun=2)
    workers = workers_of(tmp_path)
    assert process.stderr is not None
    try:
        process.send_signal(signal.SIGTERM)
        assert "a second signal" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
    finally:
        process.kill()
        process.communicate()

    assert all(wait_until_gone(pid) for pid in workers)
