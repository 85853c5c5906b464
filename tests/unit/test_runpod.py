"""train-runpod and cloud reap: every ending, every failure of the API, and not a trace of a secret."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_runpod import KEY, FakeRunPod, Fault, serving
from pod_commands import STEPS, stand_in
from runpod_client import SECRET, Client, answered, kill, shorten, until, write_workspace
from tts_train.cloud import follow
from tts_train.cloud.api import Api, Refused
from tts_train.cloud.choose import Offer
from tts_train.cloud.follow import Follower
from tts_train.cloud.job import Job
from tts_train.cloud.pods import end_all, rent
from tts_train.cloud.record import opened
from tts_train.cloud.ssh import ProgramFailed
from tts_train.errors import TtsTrainError
from tts_train.workspace import Workspace

pytestmark = pytest.mark.faults


@pytest.fixture
def runpod(tmp_path: Path) -> Iterator[FakeRunPod]:
    (tmp_path / "cloud").mkdir()
    with serving(tmp_path / "cloud") as account:
        yield account


@pytest.fixture
def user(tmp_path: Path, runpod: FakeRunPod, monkeypatch: pytest.MonkeyPatch) -> Client:
    skill = stand_in(tmp_path / "skill")
    shorten(monkeypatch, runpod, skill)
    return Client(write_workspace(tmp_path / "workspace"), runpod, skill)


def undisturbed(epochs: int = 2) -> dict[str, bytes]:
    """What the stand-in's epochs hold when nothing happens to them."""
    found, value = {}, "seed"
    for step in range(1, STEPS * epochs + 1):
        value = hashlib.sha256(value.encode()).hexdigest()
        if step % STEPS == 0:
            found[f"epoch-{step // STEPS:03d}"] = value.encode()
    return found


def step_on(runpod: FakeRunPod, identifier: str) -> int:
    """How far the pod's training is."""
    status = runpod.home(identifier) / "tts-train/ann/workspace/artifacts/tts/ann/status.json"
    return int(json.loads(status.read_text())["step"]) if status.is_file() else 0


def test_a_training_is_fetched_and_its_pod_ended(user: Client, runpod: FakeRunPod) -> None:
    code, answer = user.train(variables=("HF_TOKEN",))

    assert code == 0
    assert answer["result"]["ended"] == "done"
    assert answer["result"]["published"] == [1, 2]
    assert user.weights() == undisturbed()
    assert runpod.alive() == []
    assert [body["gpu"]["id"] for body in runpod.bodies] == ["NVIDIA RTX A4000"]  # the cheapest that fits
    assert user.records()[0]["state"] == "closed"
    assert not list(user.place.glob("artifacts/cloud/*/ssh"))  # the key to what is gone
    assert json.loads((user.run / "state/state.pt").read_text())["step"] == 2 * STEPS  # more epochs may follow here


@pytest.mark.parametrize("volume", [False, True])
def test_a_lost_pod_changes_no_byte(user: Client, runpod: FakeRunPod, tmp_path: Path, volume: bool) -> None:
    kept = tmp_path / "volume" if volume else user.run

    def cloud() -> None:
        until(lambda: list(kept.rglob("epoch-001/epoch.json")))
        runpod.take_away("pod1")

    taking = threading.Thread(target=cloud)
    taking.start()
    code, _ = user.train(volume=f"vol1:{tmp_path / 'volume'}" if volume else None)
    taking.join()

    assert code == 0
    assert user.weights() == undisturbed()
    assert len(runpod.pods) == 2
    assert runpod.alive() == []
    mounts = [body.get("mounts") for body in runpod.bodies]
    network = {"network": [{"volumeId": "vol1", "path": str(tmp_path / "volume")}]}
    assert mounts == [network if volume else None] * 2


@pytest.mark.parametrize("why", ["the pod goes", "once", "always"])
def test_programs_that_fail_on_the_pod(
    user: Client, runpod: FakeRunPod, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    look, failures = Job.look, []

    def failing(job: Job, name: str) -> dict[str, Any] | None:
        if why == "always" or not failures:
            failures.append(name)
            if why == "the pod goes":
                runpod.take_away("pod1")
            raise ProgramFailed(1, b"", "cannot change the working folder")
        return look(job, name)

    monkeypatch.setattr(Job, "look", failing)
    code, answer = user.train()

    assert runpod.alive() == []
    if why == "always":
        assert "ended with code 1: cannot change the working folder" in answer["error"]["message"]
        assert (code, len(failures)) == (1, follow.FAILURES)
    else:
        assert (code, len(runpod.pods)) == (0, 2 if why == "the pod goes" else 1)
        assert user.weights() == undisturbed()


def test_what_the_api_does_wrong_is_waited_for(user: Client, runpod: FakeRunPod) -> None:
    runpod.faults = [
        Fault("GET /v2/catalog", 429),
        Fault("GET /v2/pods", 500),
        Fault("GET /v2/pods", "silence"),
        Fault("POST /v2/pods", 429),
        Fault("DELETE /v2/pods", 503),
        Fault("DELETE /v2/pods", "silence"),
    ]
    code, _ = user.train()

    assert code == 0
    assert not any(fault.times for fault in runpod.faults)
    assert len(runpod.pods) == 1
    assert runpod.alive() == []


def rented(user: Client, runpod: FakeRunPod) -> dict[str, Any]:
    """What renting alone does, with one offer after the other."""
    rental = opened(Workspace(user.place), {"run": "ann"})
    offers = [Offer("NVIDIA RTX A4000", 16, 0.25), Offer("NVIDIA GeForce RTX 4090", 24, 0.69)]
    pod = rent(
        Api(KEY, runpod.address),
        rental,
        offers,
        lambda name, offer: {"name": name, "image": "i", "cloud": "SECURE", "gpu": {"id": offer.gpu}},
    )
    assert rental.read()["pods"][-1]["id"] == pod["id"]
    assert end_all(Api(KEY, runpod.address), rental) == 1
    return pod


@pytest.mark.parametrize("what", ["made", 500, 429])
def test_a_creation_without_an_answer_makes_one_pod(user: Client, runpod: FakeRunPod, what: int | str) -> None:
    runpod.faults = [Fault("POST /v2/pods", what)]
    rented(user, runpod)

    assert len(runpod.pods) == 1
    assert runpod.alive() == []


def test_another_gpu_is_tried_where_there_is_no_room(user: Client, runpod: FakeRunPod) -> None:
    runpod.no_room = ("NVIDIA RTX A4000",)
    rented(user, runpod)

    assert [body["gpu"]["id"] for body in runpod.bodies] == ["NVIDIA GeForce RTX 4090"]


@pytest.mark.parametrize("status", [401, 402, 422])
def test_what_no_other_gpu_would_mend_is_told_at_once(user: Client, runpod: FakeRunPod, status: int) -> None:
    runpod.faults = [Fault("POST /v2/pods", status)]
    with pytest.raises(Refused) as refused:
        rented(user, runpod)

    assert refused.value.status == status
    assert runpod.asked == []


def test_no_room_anywhere_is_told(user: Client, runpod: FakeRunPod) -> None:
    runpod.no_room = ("NVIDIA RTX A4000",)
    code, answer = user.train()

    assert code == 69
    assert "no instances currently available" in answer["error"]["message"]
    assert user.records()[0]["state"] == "closed"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"volume": "gone"}, "404"),
        ({"max_price": 0.1}, "too dear"),
        ({"gpu": "RTX 4090"}, "too dear"),
        ({"gpu": "H9000"}, "'H9000'"),
    ],
)
def test_nothing_is_rented_above_the_price(user: Client, runpod: FakeRunPod, more: dict[str, Any], says: str) -> None:
    code, answer = user.train(**more)

    assert code == 69
    assert says in answer["error"]["message"]
    assert runpod.pods == {}
    assert user.records() == []


def test_a_pod_that_costs_more_than_its_list_price_is_ended(user: Client, runpod: FakeRunPod) -> None:
    runpod.cost = 3.0
    code, answer = user.train()

    assert code == 69
    assert "costs $3" in answer["error"]["message"]
    assert runpod.alive() == []


def test_pods_that_never_answer_are_not_rented_again_and_again(
    user: Client, runpod: FakeRunPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "START_SECONDS", 0.6)
    monkeypatch.setattr(runpod, "home", lambda _identifier: runpod.folder / "nowhere")
    code, answer = user.train()

    assert code == 69
    assert "sshd" in answer["error"]["hint"]
    assert len(runpod.pods) == 2
    assert runpod.alive() == []


def test_a_pod_ends_itself_when_nobody_is_left_to_do_it(
    user: Client, runpod: FakeRunPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = runpod.folder / "bin/runpodctl"
    program.write_text(f'#!/bin/sh\necho "$@" >>{runpod.folder}/runpodctl.txt\n')
    program.chmod(0o755)
    monkeypatch.setattr(Follower, "_left", lambda _self: 3600.0)
    monkeypatch.setattr(follow, "LEAVE_SECONDS", -1799.5)

    def submit(*_given: object, **_named: object) -> None:
        until((runpod.folder / "runpodctl.txt").exists)
        raise TtsTrainError("enough", hint="")

    monkeypatch.setattr(Job, "submit", submit)
    user.train()

    assert (runpod.folder / "runpodctl.txt").read_text() == "pod delete pod1\n"


def test_hours_end_it_saved(user: Client, runpod: FakeRunPod, monkeypatch: pytest.MonkeyPatch) -> None:
    def left(_self: Follower) -> float:
        return 0.0 if runpod.pods and step_on(runpod, "pod1") > 2 else 3600.0

    monkeypatch.setattr(Follower, "_left", left)
    code, answer = user.train()

    assert code == 0
    assert answer["result"]["ended"] == "hours"
    assert json.loads((user.run / "state/state.pt").read_text())["step"] > 2
    assert runpod.alive() == []


def test_hours_count_from_the_first_start(user: Client, runpod: FakeRunPod) -> None:
    process = user.training()
    until(lambda: runpod.pods)
    kill(process)
    record = next(user.place.glob("artifacts/cloud/*/record.json"))
    record.write_text(record.read_text().replace('"started_at": "20', '"started_at": "19'))
    code, answer = user.train()

    assert (code, answer["result"]["ended"]) == (0, "hours")
    assert len(runpod.pods) == 1
    assert runpod.alive() == []


def test_a_signal_saves_fetches_and_ends_the_pod(user: Client, runpod: FakeRunPod) -> None:
    process = user.training()
    until(lambda: "pod1" in runpod.pods and step_on(runpod, "pod1") > 2)
    process.send_signal(signal.SIGTERM)
    code, answer = answered(process)

    assert code == 143
    assert answer["error"]["kind"] == "stopped"
    assert json.loads((user.run / "state/state.pt").read_text())["step"] > 2
    assert runpod.alive() == []
    assert user.train()[0] == 0
    assert user.weights() == undisturbed()


def test_a_second_signal_skips_saving_and_still_ends_the_pod(user: Client, runpod: FakeRunPod) -> None:
    process = user.training()
    until(lambda: "pod1" in runpod.pods and step_on(runpod, "pod1") > 1)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    code, _ = answered(process)

    assert code in (130, 143)
    assert runpod.alive() == []


def test_a_training_that_fails_says_what_it_said_there(user: Client, runpod: FakeRunPod) -> None:
    (user.place / "datasets/ann/fails").write_text("70")
    code, answer = user.train(variables=("HF_TOKEN",))

    assert code == 70
    assert answer["error"] == {"kind": "diverged", "message": "loss is nan; token ***", "hint": "lower lr"}
    assert runpod.alive() == []


def test_a_killed_client_leaves_a_pod_that_reap_ends(user: Client, runpod: FakeRunPod) -> None:
    process = user.training()
    until(lambda: "pod1" in runpod.pods and step_on(runpod, "pod1") > 1)
    code, answer = user.reap()
    assert code == 0
    assert answer["result"]["ended"] == []  # it is followed
    assert "in use by" in answer["result"]["left"][0]["why"]
    kill(process)
    assert runpod.alive() == ["pod1"]

    assert user.reap(dry_run=True)[1]["result"]["ended"][0]["id"] == "pod1"
    assert runpod.alive() == ["pod1"]
    code, answer = user.reap()

    assert code == 0
    assert [row["id"] for row in answer["result"]["ended"]] == ["pod1"]
    assert runpod.alive() == []
    assert user.records()[0]["ended"] == "reaped"
    assert user.reap()[1]["result"]["text"] == "nothing is left over"


def test_a_killed_client_that_never_heard_of_its_pod_is_reaped_by_name(user: Client, runpod: FakeRunPod) -> None:
    runpod.faults = [Fault("POST /v2/pods", "made"), Fault("GET /v2/pods", 500, times=10**6, after=1)]
    process = user.training()
    until(lambda: runpod.pods)
    kill(process)
    assert user.records()[0]["pods"][0]["id"] is None
    runpod.faults = []

    assert user.reap()[0] == 0
    assert runpod.alive() == []


def test_the_same_command_takes_up_the_pod_of_a_killed_client(user: Client, runpod: FakeRunPod) -> None:
    process = user.training()
    until(lambda: "pod1" in runpod.pods and step_on(runpod, "pod1") > 1)
    kill(process)
    code, _ = user.train()

    assert code == 0
    assert len(runpod.pods) == 1
    assert user.weights() == undisturbed()
    assert runpod.alive() == []


def test_pods_of_unknown_records_are_ended_only_when_asked(user: Client, runpod: FakeRunPod) -> None:
    for name in ("tts-train-0123abcd-1", "somebody-elses", "tts-train-notes"):
        runpod.answer(
            "POST", "/v2/pods", {"name": name, "image": "i", "cloud": "SECURE", "gpu": {"id": "NVIDIA RTX A4000"}}
        )
    assert user.reap()[1]["result"]["ended"] == []
    code, answer = user.reap(everywhere=True)

    assert code == 0
    assert [row["name"] for row in answer["result"]["ended"]] == ["tts-train-0123abcd-1"]
    assert len(runpod.alive()) == 2


def test_pods_that_cannot_be_ended_are_shouted_about(user: Client, runpod: FakeRunPod) -> None:
    runpod.faults = [Fault("DELETE /v2/pods", 500, times=10**6)]
    code, answer = user.train()

    assert code == 69
    assert "may still run and cost money" in answer["error"]["message"]
    assert "(pod1)" in answer["error"]["message"]
    assert "cloud reap" in answer["error"]["hint"]
    assert user.records()[0]["state"] == "open"
    runpod.faults = []
    assert user.reap()[0] == 0
    assert runpod.alive() == []


def test_one_follower_at_a_time(user: Client, runpod: FakeRunPod) -> None:
    process = user.training()
    until(lambda: "pod1" in runpod.pods)
    code, _ = user.train()
    assert code == 75
    process.terminate()
    answered(process)
    assert len(runpod.pods) == 1


@pytest.mark.parametrize("key", ["", "rpa_wrongwrongwrongwrongwrong000000"])
def test_without_a_key_nothing_is_written(user: Client, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", key)
    code, answer = user.train()

    assert code == 69
    assert "RUNPOD_API_KEY" in answer["error"]["message"] + answer["error"]["hint"]
    assert not (user.place / "artifacts").exists()
    assert not key or key not in json.dumps(answer)


def test_a_dry_run_prints_the_request_and_rents_nothing(
    user: Client, runpod: FakeRunPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, answer = user.train(variables=("HF_TOKEN",), volume="vol1", dry_run=True)
    told = answer["result"]

    assert code == 0
    assert told["request"]["gpu"] == {"id": "NVIDIA RTX A4000", "count": 1, "minCudaVersion": "12.8"}
    assert told["request"]["mounts"] == {"network": [{"volumeId": "vol1", "path": "/workspace"}]}
    assert told["request"]["dataCenterIds"] == ["EU-RO-1"]  # where the volume is
    assert told["caps"] == {"dollars_an_hour": 0.5, "hours": 1.0, "dollars": 0.5, "pods": 5}
    assert told["variables_of_the_job"] == {"HF_TOKEN": "***"}
    assert {line.partition(" ")[0] for line in runpod.asked} == {"GET"}
    monkeypatch.delenv("RUNPOD_API_KEY")
    code, answer = user.train(dry_run=True)
    assert code == 0
    assert "without a key" in answer["result"]["warnings"][0]


def test_a_key_file_does_as_well_and_no_secret_is_left_anywhere(
    user: Client, runpod: FakeRunPod, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    runpod.faults = [Fault("GET /v2/pods", 500)]
    process = user.training("--env", "HF_TOKEN", "--key-file", tmp_path / "key", key=None)
    until(lambda: "pod1" in runpod.pods and step_on(runpod, "pod1") > 1)
    lines = [path.read_bytes().decode() for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.exists()]
    code, answer = answered(process)
    assert code == 0

    pods = json.dumps(runpod.bodies) + "".join(runpod.asked)
    logs = (runpod.folder / "ssh.log").read_text()
    for what, text in {"pods": pods, "argv": "\n".join(lines), "ssh": logs, "answer": json.dumps(answer)}.items():
        assert KEY not in text, what
        assert SECRET not in text, what
    for path in [*user.place.rglob("*"), *runpod.folder.rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            assert KEY.encode() not in content, path
            assert SECRET.encode() not in content, path
