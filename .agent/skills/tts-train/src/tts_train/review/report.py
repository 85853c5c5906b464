"""report: a run or a dataset, told from the files on disk alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tts_train.config import TrainConfig
from tts_train.dataset_report.outputs import HTML, kind_of, report_dataset, write_outputs
from tts_train.errors import InputUnusable, UsageError
from tts_train.review.decision.evidence import EpochEvidence, Evidence, read_evidence
from tts_train.review.decision.measured import Contrast, Measures
from tts_train.review.decision.next import propose
from tts_train.review.record.store import verdicts_of
from tts_train.review.record.verdicts import Verdict
from tts_train.table import table
from tts_train.workspace import NAME, Workspace

_DATASET_FILES = ("train_manifest.jsonl", "rejections.jsonl", "dataset.yaml")
_MAIN_FIELDS = ("wer", "target_wer", "speaker_similarity", "mel_distance", "pace")


def report(workspace: Workspace, target: str, outputs: Sequence[Path] = (), *, embed: bool = False) -> dict[str, Any]:
    """Report on a run or a dataset's folder, and write the report to every one of `outputs`: .md, .json, or .html.

    A dataset also gets its report.html and .batch_state.json renewed; in a folder that cannot be written to, they are
    left as they are. Returns the run's or the dataset's facts and {text, outputs, and of a dataset: page, batch_state}.
    Raises InputUnusable when `target` is neither, UsageError for an output of another kind.
    """
    found = _found(workspace, target)
    if isinstance(found, str):
        return _run_report(workspace, found, outputs, embed=embed)
    return report_dataset(found, outputs, embed=embed)


def _run_report(workspace: Workspace, name: str, outputs: Sequence[Path], *, embed: bool) -> dict[str, Any]:
    if embed or any(kind_of(output) == HTML for output in outputs):
        raise UsageError(f"a page is made of datasets, and {name} is a run", hint="run.sh dashboard shows runs")
    result = run_report(workspace, name)
    return {**result, "outputs": write_outputs(result, outputs)}


def run_report(workspace: Workspace, name: str) -> dict[str, Any]:
    """Epochs of a run side by side, gates, verdicts and the next move.

    Returns {run, state, config, parent, epochs [{epoch, step, loss, sum_lr, drift, wer, …, gates_failed}], verdicts,
    next, text}.
    """
    evidence = read_evidence(workspace, name)
    verdicts = verdicts_of(workspace, name)
    parent = evidence.config.parent
    result: dict[str, Any] = {
        "run": name,
        "state": evidence.state,
        "config": evidence.config.frozen(),
        "parent": parent.model_dump(mode="json") if parent else None,
        "render_key": evidence.render_key,
        "epochs": [_epoch_row(item) for item in evidence.epochs],
        "verdicts": [verdict.as_row() for verdict in verdicts],
    }
    try:
        result["next"] = propose(workspace, name)
    except InputUnusable as error:
        result["next"] = {"move": None, "why": [error.message], "command": error.hint}
    return {**result, "text": _run_text(evidence, verdicts, result["next"])}


def _found(workspace: Workspace, target: str) -> str | Path:
    """A run's name, or a dataset's folder."""
    given = Path(target)
    if NAME.fullmatch(target) and (workspace.runs / target / "run.json").is_file():
        return target
    if (given / "run.json").is_file() and given.resolve().parent == workspace.runs.resolve():
        return given.resolve().name
    for folder in (given, workspace.root / target, workspace.datasets / target):
        if any((folder / name).is_file() for name in _DATASET_FILES):
            return folder.resolve()
    raise InputUnusable(
        f"{target} is neither a run nor a dataset of {workspace.root}",
        hint=f"a dataset holds one of {', '.join(_DATASET_FILES)}; a run is given by its name: run.sh runs",
    )


def _epoch_row(item: EpochEvidence) -> dict[str, Any]:
    measures = item.measures
    row: dict[str, Any] = {
        "epoch": item.epoch,
        "step": item.step,
        "loss": item.loss,
        "sum_lr": item.sum_lr,
        "drift": item.drift,
        **{name: getattr(measures, name) if measures else None for name in _MAIN_FIELDS},
        "contrasts": {name: contrast.distance for name, contrast in measures.contrasts.items()} if measures else {},
        "gates_failed": sorted(measures.failed_gates) if measures else None,
    }
    return row


def _run_text(evidence: Evidence, verdicts: list[Verdict], proposal: dict[str, Any]) -> str:
    config = evidence.config
    settings = _settings(config) if evidence.trained_here else _settings_elsewhere(evidence)
    lines = [f"# Run {evidence.run}", "", *(f"- {line}" for line in settings), f"- state: {evidence.state}"]
    lines += ["", "## Epochs", "", *_epochs_table(evidence), *_gates(evidence), "", "## Verdicts", ""]
    lines += [f"- {verdict.at}: {verdict.quoted()}" for verdict in verdicts] or ["Nobody has judged this run yet."]
    lines += ["", "## Next", "", f"**{proposal['move'] or 'not known yet'}**", ""]
    if proposal["move"]:
        sure = proposal["confidence"]
        lines += [f"{proposal['diagnosis']} {proposal['because']}", ""]
        lines += [f"Confidence: {sure['level']} ({'; '.join(sure['because'])}).", ""]
        lines += [f"- {quote['text']}" for quote in proposal["evidence"]]
        lines += _conflicts(proposal["conflicts"])
    else:
        lines += [f"- {reason}" for reason in proposal["why"]]
    if proposal["command"]:
        lines += ["", "```bash", proposal["command"], "```"]
    return "\n".join(lines) + "\n"


def _conflicts(conflicts: list[dict[str, Any]]) -> list[str]:
    if not conflicts:
        return []
    rows = [
        (item["epoch"], item["what"], f"{side['who']}: {side['said']}", item["decided"] if first else None)
        for item in conflicts
        for first, side in ((index == 0, side) for index, side in enumerate(item["said"]))
    ]
    return ["", "## Conflicts", "", *table(("epoch", "what", "who said what", "what decides"), rows)]


def _settings_elsewhere(evidence: Evidence) -> list[str]:
    config = evidence.config
    lr = f"lr {config.lr:.1e} as told when it was adopted" if evidence.lr_known else "lr unknown"
    return [
        f"voice {config.voice}, backend {config.backend}, base {config.base}",
        f"trained elsewhere and adopted: {lr}; schedule, batch size, steps and dataset unknown",
    ]


def _settings(config: TrainConfig) -> list[str]:
    schedule = config.schedule
    horizon = f" to step {schedule.horizon_steps}" if schedule.horizon_steps else ""
    lines = [
        f"voice {config.voice}, backend {config.backend}, dataset {config.dataset}, base {config.base}",
        f"lr {config.lr:.1e}, {schedule.shape}{horizon} after {schedule.warmup_steps} warm-up steps",
        f"batches of {config.batch_size} × {config.accumulation}, seed {config.seed}",
    ]
    if config.parent:
        weights = "from its weights" if config.parent.from_weights else "from the base"
        lines.append(f"{config.parent.move} after {config.parent.run}, epoch {config.parent.epoch}, {weights}")
    return lines


def _epochs_table(evidence: Evidence) -> list[str]:
    names = sorted({name for item in evidence.epochs if item.measures for name in item.measures.contrasts})
    head = ("epoch", "step", "loss", "Σlr", "drift", "WER", "similarity", "mel", "pace", *names)
    rows = []
    for item in evidence.epochs:
        measures = item.measures or Measures()
        main = (measures.wer, measures.speaker_similarity, measures.mel_distance, measures.pace)
        moved = None if item.sum_lr is None else f"{item.sum_lr:.2e}"
        contrasts = (_interval(measures.contrasts.get(name)) for name in names)
        rows.append((item.epoch, item.step, item.loss, moved, item.drift, *main, *contrasts))
    lines = table(head, rows)
    target = next((m.target_wer for item in evidence.epochs if (m := item.measures) and m.target_wer is not None), None)
    if target is not None:
        lines += ["", f"The target speaker's own WER is {target:.3f}; epoch 0 is the untouched base."]
    return lines


def _interval(contrast: Contrast | None) -> str | None:
    if contrast is None:
        return None
    around = (
        f" [{contrast.low:.2f}, {contrast.high:.2f}]" if contrast.low is not None and contrast.high is not None else ""
    )
    return f"{contrast.distance:.2f}{around}{' ' + contrast.verdict if contrast.verdict else ''}"


def _gates(evidence: Evidence) -> list[str]:
    lines = ["", "## Gates", ""]
    measured = [item for item in evidence.epochs if item.measures]
    if not measured:
        return [*lines, "Nothing was measured yet: run.sh probe RUN"]
    failed = [
        f"- epoch {item.epoch}: {name}: {item.measures.gates[name].detail or 'failed'}"
        for item in measured
        if item.measures
        for name in sorted(item.measures.failed_gates)
    ]
    return [*lines, *(failed or ["Every measured epoch passes every gate."])]
