"""The main job on the demo book, really: audiobook → dataset → alignment → epochs → probe → measures → next move.

Every station is the one its own command uses, and every station resumes; nothing here knows a result beforehand.
The runs differ in one thing each, so that what the listener hears has one cause.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tts_train import jobs
from tts_train.backends import backend
from tts_train.config import TrainConfig
from tts_train.errors import Unavailable, UsageError
from tts_train.files import read_json, write_json, write_text
from tts_train.output import progress
from tts_train.probe.work import probe_run
from tts_train.review.decision.next import propose
from tts_train.work import environments
from tts_train.workspace import Workspace, repository_root

EPOCHS = 6


@dataclass(frozen=True)
class DemoRun:
    """A training of the demo: what it changes against `constant`, and why anyone would make it."""

    name: str
    story: str
    changes: dict[str, Any]


RUNS = {
    run.name: run
    for run in (
        DemoRun("constant", "the recipe: a rate that is constant after its warm-up", {}),
        DemoRun(
            "decay",
            "a horizon meant in epochs is read in steps: the rate is 0 from step 6 on",
            {"schedule": {"shape": "linear", "warmup_steps": 10, "horizon_steps": EPOCHS}},
        ),
        DemoRun(
            "hot",
            "a rate that climbs to far too much: epoch 1 is fit, from epoch 2 on words break",
            {"lr": 1e-3, "schedule": {"warmup_steps": 66}},
        ),
        DemoRun("timid", "a learning rate five times too low, without decay", {"lr": 8e-6}),
    )
}


def demo(out: Path, names: list[str], epochs: int) -> dict[str, Any]:
    """Run the demo's stations under `out`; what is there already is not done again.

    Raises UsageError for an unknown run, Unavailable when the skill was copied without the repository.
    """
    chosen = [_run_named(name) for name in names]
    source = _demo_source()
    workspace = _workspace(out)
    timings = _Timings(out / "timings.json")
    with timings.measure("install"):
        environments.ensure("project", "skill")
    dataset = _dataset(workspace, source, timings)
    runs = {}
    for run in chosen:
        runs[run.name] = _train_and_probe(workspace, source, run, epochs, timings)
    result = {
        "workspace": str(workspace.root),
        "dataset": dataset,
        "timings_seconds": timings.seconds,
        "runs": runs,
        "try": _next_thing(workspace, runs),
    }
    return {**result, "text": _text(result)}


def plan(out: Path, names: list[str], epochs: int) -> dict[str, Any]:
    """What `demo` would do and cost, from times measured on two CPU cores."""
    chosen = [_run_named(name) for name in names]
    return {
        "workspace": str(out),
        "runs": {run.name: run.story for run in chosen},
        "epochs": epochs,
        "estimate": {
            "minutes": round(4 + len(chosen) * epochs * 1.0, 1),
            "disk_gigabytes": round(len(chosen) * (epochs + 6) * 0.063 + 0.1, 1),
            "environments_gigabytes": 0 if environments.ready("project", "skill") else 16,
            "basis": "two idle CPU cores",
        },
    }


def _run_named(name: str) -> DemoRun:
    if name in RUNS:
        return RUNS[name]
    raise UsageError(f"the demo has no run '{name}'", hint=f"--runs takes some of: {','.join(RUNS)}")


def _demo_source() -> Path:
    root = repository_root()
    if root is None:
        raise Unavailable(
            "the demo needs the whole repository: its book is in datasets/demo", hint="clone the repository"
        )
    return root


def _workspace(out: Path) -> Workspace:
    (out / "configs" / "tts").mkdir(parents=True, exist_ok=True)
    return Workspace(out.resolve())


def _dataset(workspace: Workspace, source: Path, timings: _Timings) -> dict[str, Any]:
    """Ingest and align the book; compare what was heard with its true text."""
    book, folder = source / "datasets" / "demo", workspace.datasets / "demo"
    manifest = folder / "train_manifest.jsonl"
    progress("station 1/4: ingest the audiobook")
    with timings.measure("ingest"):
        ingested = jobs.command(
            "project",
            "ingest",
            str(book / "book.m4b"),
            "demo",
            str(folder),
            "--card",
            str(book / "dataset.yaml"),
            *("--min-sec", "1", "--window", "30"),
        )
    progress("station 2/4: align its words")
    with timings.measure("align"):
        aligned = jobs.command("project", "align", str(manifest), str(folder / "train_aligned.jsonl"), str(folder))
        heard = jobs.call(
            "project",
            "tts_train.work.checks:manifest_wer",
            {"manifest": str(manifest), "text": str(book / "book.txt")},
        )
    kept = ("clips", "audio_seconds", "speech_seconds", "coverage", "rejected", "rejected_seconds")
    return {**{name: ingested[name] for name in kept}, "aligner": aligned["aligner"], "wer": heard["wer"]}


def _train_and_probe(
    workspace: Workspace, source: Path, run: DemoRun, epochs: int, timings: _Timings
) -> dict[str, Any]:
    config = _config(workspace, source, run, epochs)
    progress(f"station 3/4: train '{run.name}': {run.story}")
    with timings.measure("train", run.name):
        jobs.call(
            "skill",
            "tts_train.work.train:train",
            {"config": config, "workspace": str(workspace.root), "probe": False},
        )
    progress(f"station 4/4: render the probe with every epoch of '{run.name}' and measure")
    with timings.measure("probe", run.name):
        probed = probe_run(workspace, config["run"])
    proposal = propose(workspace, config["run"])
    return {
        "run": config["run"],
        "next": proposal,
        "target": probed["target"],
        "epochs": probed["epochs"],
        "text": probed["text"],
    }


def _config(workspace: Workspace, source: Path, run: DemoRun, epochs: int) -> dict[str, Any]:
    """Write the run's config as a person would keep it, and return it checked."""
    recipe = backend("piper").recipe
    settings = {
        "voice": "demo",
        "run": f"demo-{run.name}",
        "backend": "piper",
        "dataset": "datasets/demo/train_aligned.jsonl",
        "epochs": epochs,
        "batch_size": recipe.batch_size,
        "lr": recipe.lr,
        "schedule": {"warmup_steps": recipe.warmup_steps},
        "threads": 2,
        "probe": {
            "file": str(source / "configs/probes/northern-english.yaml"),
            "target": str(source / "datasets/demo/heldout/manifest.jsonl"),
        },
        **run.changes,
    }
    path = workspace.configs / f"demo_{run.name}.yaml"
    header = f"# run.sh train-local {workspace.relative(path)} --workspace {workspace.root}\n# {run.story}\n"
    write_text(path, header + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    return TrainConfig.model_validate(settings).frozen()


class _Timings:
    """Seconds per station, kept on disk so that a demo taken up again still tells what the work cost."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done: dict[str, float] = read_json(path) if path.is_file() else {}

    @contextmanager
    def measure(self, station: str, run: str = "") -> Iterator[None]:
        started = time.monotonic()
        yield
        key = f"{station}:{run}" if run else station
        self._done[key] = max(self._done.get(key, 0.0), round(time.monotonic() - started, 1))
        write_json(self._path, self._done)

    @property
    def seconds(self) -> dict[str, float]:
        totals: dict[str, float] = {}
        for key, seconds in self._done.items():
            station = key.partition(":")[0]
            totals[station] = round(totals.get(station, 0.0) + seconds, 1)
        return totals


def _next_thing(workspace: Workspace, runs: dict[str, Any]) -> list[str]:
    """What to type now: listen, then judge."""
    first = next(iter(runs.values()))
    last = first["epochs"][-1]["epoch"]
    place = f"--workspace {workspace.root}"
    return [
        f"ls {workspace.runs / first['run'] / 'renders'}/*/epoch-*/   # the same words by every epoch: listen",
        f"./run.sh verdict {first['run']} --epoch {last} --heard good --listener YOU {place}",
        f"./run.sh next {first['run']} {place} --human",
    ]


def _text(result: dict[str, Any]) -> str:
    dataset = result["dataset"]
    rejected = ", ".join(f"{count} {reason}" for reason, count in dataset["rejected"].items()) or "none"
    built = (
        f"dataset: {dataset['clips']} clips, {dataset['audio_seconds']:.0f} s; rejected: {rejected}; "
        f"WER against the book's text {dataset['wer']:.1%}"
    )
    lines = [
        built,
        "seconds: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in result["timings_seconds"].items()),
    ]
    for name, run in result["runs"].items():
        proposal = run["next"]
        lines += ["", f"{name}: {RUNS[name].story}", run["text"], f"next move: {proposal['move']}"]
        lines += [f"  {reason}" for reason in proposal["why"]]
    lines += ["", "Type next:", *(f"  {command}" for command in result["try"])]
    return "\n".join(lines)
