"""report: a run or a dataset as markdown, from the files on disk alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tts_train.config import TrainConfig
from tts_train.dataset import load_card
from tts_train.errors import ConfigError, DiskError, InputUnusable
from tts_train.files import read_jsonl, write_json, write_text
from tts_train.output import progress
from tts_train.review.decision.evidence import EpochEvidence, Evidence, read_evidence
from tts_train.review.decision.measured import Contrast, Measures
from tts_train.review.decision.next import propose
from tts_train.review.record.store import verdicts_of
from tts_train.review.record.verdicts import Verdict
from tts_train.review.table import duration, table
from tts_train.workspace import NAME, Workspace

BATCH_STATE = ".batch_state.json"
_DATASET_FILES = ("train_manifest.jsonl", "rejections.jsonl", "dataset.yaml")
_MAIN_FIELDS = ("wer", "target_wer", "speaker_similarity", "mel_distance", "pace")


def report(workspace: Workspace, target: str, output: Path | None = None) -> dict[str, Any]:
    """Report on a dataset's folder or a run; with `output` the text is written there too.

    Raises InputUnusable when `target` is neither.
    """
    result = _report(workspace, target)
    if output is not None:
        write_text(output, result["text"])
        result["output"] = str(output)
    return result


def dataset_report(folder: Path) -> dict[str, Any]:
    """A dataset's facts, and `.batch_state.json` left in its folder for the batch-report skill.

    Returns `dataset_facts` and {batch_state, text}.
    """
    facts = dataset_facts(folder)
    result = {**facts, "batch_state": _batch_state(folder, facts["clips"], sum(facts["rejected"].values()))}
    return {**result, "text": _dataset_text(result)}


def dataset_facts(folder: Path) -> dict[str, Any]:
    """Clips, seconds and rejections of a dataset; nothing is written.

    Returns {dataset, clips, audio_seconds, clip_seconds {shortest, longest}, rejected {reason: n}, rejected_seconds
    {reason: s}, chapters, speakers, aligned, card}.
    """
    clips = _rows(folder / "train_manifest.jsonl")
    rejections = _rows(folder / "rejections.jsonl")
    seconds = [float(row.get("audio_seconds") or 0.0) for row in clips]
    lost: dict[str, float] = {}
    for row in rejections:
        lost[str(row.get("reason"))] = lost.get(str(row.get("reason")), 0.0) + _seconds(row)
    return {
        "dataset": str(folder),
        "clips": len(clips),
        "audio_seconds": round(sum(seconds), 1),
        "clip_seconds": {"shortest": min(seconds, default=None), "longest": max(seconds, default=None)},
        "rejected": dict(Counter(str(row.get("reason")) for row in rejections).most_common()),
        "rejected_seconds": {reason: round(total, 1) for reason, total in sorted(lost.items())},
        "chapters": _by(clips, "chapter"),
        "speakers": _by(clips, "speaker"),
        "aligned": len(_rows(folder / "train_aligned.jsonl")),
        "card": _card(folder),
    }


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


def _report(workspace: Workspace, target: str) -> dict[str, Any]:
    given = Path(target)
    if NAME.match(target) and (workspace.runs / target / "run.json").is_file():
        return run_report(workspace, target)
    if (given / "run.json").is_file() and given.resolve().parent == workspace.runs.resolve():
        return run_report(workspace, given.resolve().name)
    for folder in (given, workspace.root / target, workspace.datasets / target):
        if any((folder / name).is_file() for name in _DATASET_FILES):
            return dataset_report(folder.resolve())
    raise InputUnusable(
        f"{target} is neither a run nor a dataset of {workspace.root}",
        hint=f"a dataset holds one of {', '.join(_DATASET_FILES)}; a run is given by its name: run.sh runs",
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_jsonl(path)] if path.is_file() else []


def _seconds(row: dict[str, Any]) -> float:
    given = row.get("audio_seconds")
    return float(given if given is not None else (row.get("end") or 0.0) - (row.get("start") or 0.0))


def _by(rows: Iterable[dict[str, Any]], field: str) -> dict[str, int]:
    return dict(Counter(str(row[field]) for row in rows if row.get(field)))


def _card(folder: Path) -> dict[str, Any] | None:
    try:
        return load_card(folder).model_dump()
    except ConfigError as error:
        progress(f"the card: {error.message}")
        return None


def _batch_state(folder: Path, clips: int, rejected: int) -> str | None:
    state = {
        "name": f"tts-dataset {folder.name}",
        "description": "TTS dataset build summary",
        "total": clips + rejected,
        "successful": clips,
        "failed": rejected,
    }
    try:
        write_json(folder / BATCH_STATE, state)
    except DiskError as error:
        progress(f"{BATCH_STATE} was not written: {error.message}")
        return None
    return str(folder / BATCH_STATE)


def _dataset_text(result: dict[str, Any]) -> str:
    kept, lost = result["audio_seconds"], sum(result["rejected_seconds"].values())
    share = f", {kept / (kept + lost):.0%} of the speech" if kept + lost else ""
    lines = [
        f"# Dataset {Path(result['dataset']).name}",
        "",
        f"- clips: {result['clips']}, {duration(kept)} of audio{share}; with word times: {result['aligned']}",
    ]
    if result["clips"]:
        lengths = result["clip_seconds"]
        lines.append(f"- shortest clip {lengths['shortest']:.1f} s, longest {lengths['longest']:.1f} s")
    card = result["card"]
    if card:
        lines.append(
            f"- speaker {card['speaker']}, {card['language']}; {card['licence']}; consent: {card['consent_basis']}"
        )
    else:
        lines.append(
            "- dataset.yaml is missing or wrong: training refuses a dataset without source, licence and consent"
        )
    lines += ["", "## Rejected", ""]
    if result["rejected"]:
        seconds = result["rejected_seconds"]
        lines += table(
            ("reason", "clips", "seconds"), [(name, n, seconds[name]) for name, n in result["rejected"].items()]
        )
    else:
        lines.append("Nothing was rejected.")
    if result["chapters"]:
        lines += ["", "## Clips per chapter", "", *table(("chapter", "clips"), result["chapters"].items())]
    return "\n".join(lines) + "\n"


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
