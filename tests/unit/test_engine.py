"""Engine.map, inline and on spawned processes: order, look-ahead, exceptions, and what becomes of the workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import engine_work
from tts_train.engine import Pool, engine
from tts_train.errors import InputUnusable, TtsTrainError

HERE = str(Path(__file__).parents[1])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pid: int) -> bool:
    return any(time.sleep(0.05) or not is_alive(pid) for _ in range(200))


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_results_come_in_the_order_of_the_pieces(jobs: int) -> None:
    with engine(jobs) as run:
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


def test_an_exception_that_cannot_travel_arrives_as_a_bug_with_its_name(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TtsTrainError, match="Odd: 1 and 2"), engine(2) as run:
        list(run.map(engine_work.break_oddly, range(2)))

    assert "break_oddly" in capfd.readouterr().err


def test_a_killed_worker_is_an_error_and_not_a_hang() -> None:
    with pytest.raises(TtsTrainError, match="ended with code -9"), engine(2) as run:
        list(run.map(engine_work.die, range(5)))


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
        with pytest.raises(TtsTrainError, match="ended with code -9"):
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


@pytest.mark.parametrize(
    ("number", "to_group"), [(signal.SIGTERM, True), (signal.SIGTERM, False), (signal.SIGKILL, False)]
)
def test_a_signal_ends_the_workers_in_the_middle_of_a_piece(tmp_path: Path, number: int, to_group: bool) -> None:
    program = (
        f"import sys; sys.path.insert(0, {HERE!r})\n"
        "import engine_work\n"
        "from tts_train.engine import engine\n"
        "from tts_train.output import guarded_stdout\n"
        "if __name__ == '__main__':\n"
        "    with guarded_stdout(), engine(2) as run:\n"
        f"        list(run.map(engine_work.hang, [{str(tmp_path / 'a')!r}, {str(tmp_path / 'b')!r}]))\n"
    )
    (tmp_path / "program.py").write_text(program)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    try:
        places = [tmp_path / "a", tmp_path / "b"]
        for _ in range(400):
            if all(place.exists() and place.read_text() for place in places):
                break
            time.sleep(0.05)
        workers = [int(place.read_text()) for place in places]
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
