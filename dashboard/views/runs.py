"""Runs as rows: the list, one run's status, its curves, its epochs and its next move. Nothing here decides anything."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from tts_train.review.decision.evidence import EpochEvidence, Evidence
from tts_train.review.decision.measured import Contrast
from tts_train.review.record.verdicts import Verdict, current
from tts_train.table import duration
from tts_train.training.status import ALIVE
from tts_train.workspace import Workspace, repository_root
from views.names import epoch_name

Level = Literal["info", "success", "warning", "error"]
Row = dict[str, Any]
Point = tuple[int, float]

POINTS = 400
"""More points than a chart of this width has pixels for."""
_LEVELS: Mapping[str, Level] = {
    "done": "success",
    "failed": "error",
    "unreadable": "error",
    "stopped": "warning",
    "interrupted": "warning",
}


@dataclass(frozen=True)
class Status:
    """What a run is doing, in words. `share` is the part of its epochs that is published, for a run under way."""

    level: Level
    line: str
    share: float | None = None
    command: str = ""


@dataclass(frozen=True)
class Curves:
    """Lines over optimizer steps, thinned; `*_epochs` are one point per epoch."""

    loss: tuple[Point, ...] = ()
    loss_epochs: tuple[Point, ...] = ()
    lr: tuple[Point, ...] = ()
    sum_lr: tuple[Point, ...] = ()
    drift: tuple[Point, ...] = ()


def run_rows(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The table of runs, from the rows of `list_runs`."""
    return [
        {
            "run": row["run"],
            "state": row["state"],
            "epochs": f"{row.get('epochs_published', '?')} of {row.get('epochs_planned', '?')}",
            "voice": row.get("voice"),
            "family": row.get("backend"),
            "lr": row.get("lr"),
            "schedule": row.get("schedule"),
            "similarity": row.get("speaker_similarity"),
            "WER %": percent(row.get("wer")),
            "verdicts": row["verdicts"],
            "after": f"{row['parent']['run']} ({row['parent']['move']})" if row.get("parent") else row.get("reason"),
        }
        for row in rows
    ]


def status_of(status: Mapping[str, Any]) -> Status:
    """A run's `run_status` for the top of its page."""
    alive = status["state"] in ALIVE
    published, planned = status["epochs_published"], status["epochs_planned"]
    parts = [f"{status['state']}, {published} of {planned} epochs"]
    parts += [f"step {status['step']}"] if status["step"] else []
    parts += [f"loss {status['loss']:.3f}"] if status["loss"] is not None else []
    if alive and status["eta_seconds"]:
        parts.append(f"about {duration(status['eta_seconds'])} left")
    if alive and status["heartbeat_age_seconds"] is not None:
        parts.append(f"last sign {duration(status['heartbeat_age_seconds'])} ago from {status['host']}")
    line = " · ".join(parts)
    if status["stale"]:
        return Status("warning", f"{line}. It is silent: it hangs, or its host is gone.", published / planned)
    line += f". {status['reason']}" if status["reason"] else ""
    share = published / planned if alive else None
    return Status(_LEVELS.get(str(status["state"]), "info"), line, share, str(status["next"]))


def curves_of(rows: Iterable[Mapping[str, Any]]) -> Curves:
    """The rows of a run's metrics.jsonl as lines; values that were not finite, there null, are left out."""
    steps: list[Mapping[str, Any]] = []
    epochs: list[Mapping[str, Any]] = []
    for row in rows:
        (steps if row["kind"] == "step" else epochs).append(row)
    lr = [(int(row["step"]), float(row["lr"])) for row in steps if row.get("lr") is not None]
    total = accumulate(value for _, value in lr)
    moved = [(step, value) for (step, _), value in zip(lr, total, strict=True)]
    return Curves(
        loss=thinned([(int(row["step"]), float(row["loss"])) for row in steps if row.get("loss") is not None]),
        loss_epochs=_at_epochs(epochs, "mean_loss"),
        lr=thinned(lr),
        sum_lr=_at_epochs(epochs, "sum_lr", start=True) if any("sum_lr" in row for row in epochs) else thinned(moved),
        drift=_at_epochs(epochs, "drift", start=True),
    )


def thinned(points: Sequence[Point], limit: int = POINTS) -> tuple[Point, ...]:
    """At most about `limit` points in order, the ends and every stretch's lowest and highest among them.

    A single diverged step is what a mean over the stretch would hide.
    """
    if len(points) <= limit:
        return tuple(points)
    size = -(-len(points) // (limit // 2))
    kept = {points[0], points[-1]}
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        kept |= {min(stretch, key=_height), max(stretch, key=_height)}
    return tuple(sorted(kept))


def epoch_rows(evidence: Evidence, verdicts: Iterable[Verdict]) -> list[Row]:
    """One row per epoch, the base first: training, measures, gates and what was heard last by everybody."""
    heard: dict[int, list[str]] = {}
    for verdict in current(verdicts):
        heard.setdefault(verdict.epoch, []).append(f"{', '.join(verdict.heard)} ({verdict.listener})")
    return [_epoch_row(item, heard.get(item.epoch, [])) for item in evidence.epochs]


def gate_lines(evidence: Evidence) -> list[str]:
    """Every failed gate with its detail, and epochs whose measures were left out."""
    lines = [
        f"{epoch_name(item.epoch)}: {name}: {item.measures.gates[name].detail or 'failed'}"
        for item in evidence.epochs
        if item.measures
        for name in sorted(item.measures.failed_gates)
    ]
    stale = (f"{epoch_name(number)}: its renders were spoken by other weights; run: probe" for number in evidence.stale)
    return [*lines, *stale]


def contrast_rows(evidence: Evidence) -> list[Row]:
    """One row per contrast or glide and epoch that was measured: how far, and where between base and target."""
    return [
        {
            "evidence": name.replace("_", "-"),
            "epoch": item.epoch,
            "distance (z)": _with_interval(contrast.distance, contrast.low, contrast.high),
            "t (0 base, 1 target)": _with_interval(contrast.t, contrast.t_low, contrast.t_high),
            "change": f"{contrast.verdict}, past the target" if contrast.overshot else contrast.verdict,
        }
        for name, item, contrast in _contrasts(evidence)
    ]


def progress_points(evidence: Evidence) -> list[Row]:
    """Where each epoch's contrasts stand between base and target: {contrast, epoch, t, low, high}; for a chart."""
    return [
        {
            "contrast": name.replace("_", "-"),
            "epoch": item.epoch,
            "t": contrast.t,
            "low": contrast.t_low,
            "high": contrast.t_high,
        }
        for name, item, contrast in _contrasts(evidence)
        if contrast.t is not None
    ]


def diff_rows(proposal: Mapping[str, Any]) -> list[Row]:
    """What the child's config changes."""
    return [
        {"setting": name, "now": _told(old), "child": _told(new)}
        for name, (old, new) in proposal["config_diff"].items()
    ]


def written_before(proposal: Mapping[str, Any], moves: Iterable[Mapping[str, Any]], configs: set[str]) -> Row | None:
    """The recorded move that wrote this very child already, if its config is still there: {child_run, config}.

    A second press, another tab or yesterday's visit must not make a second child of the same settings. `configs` are
    the files of configs/tts, as paths in the workspace.
    """
    for move in moves:
        before = move["proposal"]
        same = all(before.get(name) == proposal[name] for name in ("move", "also", "epoch", "config_diff"))
        if same and move["config"] in configs:
            return {"child_run": move["child_run"], "config": move["config"]}
    return None


def typed(command: str, workspace: Workspace) -> str:
    """A command of the product's as it works in the reader's shell, which does not know this server's workspace."""
    if not command or "--workspace" in shlex.split(command) or workspace.root == repository_root():
        return command
    return f"{command} --workspace {shlex.quote(str(workspace.root))}"


def percent(share: float | None) -> float | None:
    """A share as per cent."""
    return None if share is None else 100.0 * share


def conflict_line(conflict: Mapping[str, Any]) -> str:
    """Who disagrees about what, and what decides; from a proposal's `conflicts`."""
    said = "; ".join(f"{side['who']}: {side['said']}" for side in conflict["said"])
    return f"{epoch_name(conflict['epoch'])}, {conflict['what']}: {said}. {conflict['decided']}"


def dataset_numbers(facts: Mapping[str, Any]) -> dict[str, str]:
    """The size of a dataset, from `dataset_facts`."""
    kept, lost = facts["audio_seconds"], sum(facts["rejected_seconds"].values())
    lengths = facts["clip_seconds"]
    return {
        "clips": str(facts["clips"]),
        "audio": duration(kept),
        "kept": f"{kept / (kept + lost):.0%}" if kept + lost else "–",
        "clip length": f"{lengths['shortest']:.1f} to {lengths['longest']:.1f} s" if facts["clips"] else "–",
        "with word times": str(facts["aligned"]),
    }


def rejected_rows(facts: Mapping[str, Any]) -> list[Row]:
    """Why clips of a dataset were rejected, the most frequent reason first; from `dataset_facts`."""
    seconds = facts["rejected_seconds"]
    return [{"reason": name, "clips": count, "seconds": seconds[name]} for name, count in facts["rejected"].items()]


def _epoch_row(item: EpochEvidence, heard: Sequence[str]) -> Row:
    measures = item.measures
    return {
        "epoch": item.epoch,
        "step": item.step,
        "loss": item.loss,
        "Σlr": item.sum_lr,
        "drift %": percent(item.drift),
        "WER %": percent(measures.wer) if measures else None,
        "similarity": measures.speaker_similarity if measures else None,
        "mel dB": measures.mel_distance if measures else None,
        "pace": measures.pace if measures else None,
        "gates": _gates(item),
        "shown": ", ".join(_shown(item)),
        "heard": "; ".join(heard),
    }


def _gates(item: EpochEvidence) -> str:
    if item.stale:
        return "stale"
    if item.measures is None:
        return "not measured"
    failed = sorted(item.measures.failed_gates)
    return f"failed: {', '.join(failed)}" if failed else "pass"


def _shown(item: EpochEvidence) -> list[str]:
    found = item.measures.contrasts.items() if item.measures else ()
    return [name.replace("_", "-") for name, contrast in found if contrast.verdict == "shown"]


def _contrasts(evidence: Evidence) -> list[tuple[str, EpochEvidence, Contrast]]:
    """By name, then by epoch; nothing was asked of the base."""
    names: dict[str, None] = {}
    for item in evidence.epochs:
        names |= dict.fromkeys(item.measures.contrasts if item.measures else ())
    return [
        (name, item, item.measures.contrasts[name])
        for name in names
        for item in evidence.epochs[1:]
        if item.measures and name in item.measures.contrasts
    ]


def _at_epochs(rows: Iterable[Mapping[str, Any]], name: str, *, start: bool = False) -> tuple[Point, ...]:
    points = [(int(row["step"]), float(row[name])) for row in rows if row.get(name) is not None]
    return ((0, 0.0), *points) if start and points else tuple(points)


def _height(point: Point) -> float:
    return point[1]


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _told(value: Any) -> str:
    return "–" if value is None else str(value)
