"""next: the move that follows from a run, with its reasons, its config diff and the exact command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tts_train.backends import BACKENDS
from tts_train.errors import InputUnusable, UsageError
from tts_train.review.commandline import YOUR_NAME, command_line, shown
from tts_train.review.decision.child import Child, plan_child, write_child
from tts_train.review.decision.conflicts import Conflict
from tts_train.review.decision.ears import Ears, read_ears
from tts_train.review.decision.evidence import Evidence, read_evidence
from tts_train.review.decision.moves import Decision, decide, load_moves
from tts_train.review.record.store import Store, database
from tts_train.workspace import Workspace


def propose(workspace: Workspace, run: str, *, write: bool = False) -> dict[str, Any]:
    """The next training move of a run.

    Returns {run, move, also, epoch, diagnosis, because, evidence [{kind, epoch, text}], confidence {level, because},
    conflicts [{kind, epoch, what, said, decided}], why, basis, confirmed, config_diff, sum_lr, command,
    would_change_its_mind, contradictions, rule, child, text}; `why` is all of diagnosis' grounds as one list. With
    `write` the child's config is created and the move recorded; then `command` trains it. Raises InputUnusable without
    published epochs, or when nothing was measured and nobody has judged; UsageError when `write` is asked of a move
    that trains nothing.
    """
    evidence = read_evidence(workspace, run)
    ears = read_ears(workspace, evidence)
    _require_something(workspace, evidence, ears)
    decision = decide(evidence, ears)
    child = plan_child(workspace, evidence, decision, load_moves().thresholds)
    if write and child is None:
        hint = command_without_child(workspace, evidence, decision)
        raise UsageError(f"'{decision.move}' trains nothing, so there is no config to write", hint=hint)
    if write and child is not None:
        write_child(workspace, child, decision.rule)
    bound = evidence.sum_lr(evidence.last.epoch)
    proposal: dict[str, Any] = {
        "run": run,
        "move": decision.move,
        "also": list(decision.also),
        "epoch": decision.epoch,
        "diagnosis": decision.diagnosis,
        "because": decision.because,
        "evidence": [quote.as_json() for quote in decision.evidence],
        "confidence": decision.confidence.as_json(),
        "conflicts": [conflict.as_json() for conflict in decision.conflicts],
        "why": list(decision.why),
        "basis": decision.basis,
        "confirmed": decision.confirmed,
        "config_diff": {name: list(values) for name, values in child.diff.items()} if child else {},
        "sum_lr": {name: getattr(bound, name) if bound else None for name in ("actual", "without_decay", "recipe")},
        "command": _command(workspace, evidence, decision, child, written=write),
        "would_change_its_mind": list(decision.would_change),
        "contradictions": list(decision.contradictions),
        "rule": decision.rule,
        "child": _described(workspace, child, written=write) if child else None,
    }
    if write and child is not None:
        with Store(database(workspace)) as store:
            store.add_move(proposal, run=run, child_run=child.config.run, config=workspace.relative(child.path))
    return {**proposal, "text": proposal_text(proposal, decision.conflicts)}


def command_without_child(workspace: Workspace, evidence: Evidence, decision: Decision) -> str:
    """What to type when nothing is to be trained, or before it is."""
    run, epoch = evidence.run, str(decision.epoch)
    if not evidence.trained_here and not decision.listen and decision.move not in ("ship", "rewind"):
        # What it was trained on is known to the person who has it: VOICE is theirs to fill in.
        if decision.move == "audit-data":
            return command_line(workspace, "report", "datasets/VOICE")
        backend, manifest = evidence.config.backend, "datasets/VOICE/train_manifest.jsonl"
        return command_line(workspace, "config", "new", "VOICE", "--backend", backend, "--dataset", manifest)
    if decision.move == "audit-data":
        dataset = workspace.path(evidence.config.dataset).parent
        return command_line(workspace, "report", shown(dataset))
    if decision.confirmed and evidence.config.backend in BACKENDS and not decision.listen:
        return command_line(workspace, "ship", run, epoch)
    return command_line(workspace, "verdict", run, "--epoch", epoch, "--heard", "good", "--listener", YOUR_NAME)


def proposal_text(proposal: dict[str, Any], conflicts: Sequence[Conflict] = ()) -> str:
    """A proposal for people."""
    named = " + ".join([proposal["move"], *proposal["also"]])
    unsure = proposal["move"] in ("ship", "rewind") and not proposal["confirmed"]
    told = ", not confirmed by a listener" if unsure else ""
    lines = [f"{proposal['run']}: {named} (epoch {proposal['epoch']}, from {proposal['basis']}{told})", ""]
    sure = proposal["confidence"]
    lines += [f"Diagnosis: {proposal['diagnosis']}", f"Why this move: {proposal['because']}"]
    lines += [f"Confidence: {sure['level']} ({'; '.join(sure['because'])})", "", "Evidence:"]
    lines += [f"  - {quote['text']}" for quote in proposal["evidence"]]
    if conflicts:
        lines += ["", "Conflicts:", *(f"  - {conflict.told()}" for conflict in conflicts)]
    if proposal["config_diff"]:
        lines += ["", "Settings:"]
        lines += [f"  {name}: {old} → {new}" for name, (old, new) in proposal["config_diff"].items()]
    if proposal["child"]:
        lines += ["", f"Child run: {proposal['child']['summary']}"]
    lines += ["", "Type:", f"  {proposal['command']}", "", "What would change this:"]
    return "\n".join([*lines, *(f"  - {text}" for text in proposal["would_change_its_mind"])])


def _command(
    workspace: Workspace, evidence: Evidence, decision: Decision, child: Child | None, *, written: bool
) -> str:
    if child is not None and written:
        return command_line(workspace, "train-local", shown(child.path))
    if child is None or decision.move == "rewind":
        return command_without_child(workspace, evidence, decision)
    return command_line(workspace, "next", evidence.run, "--write")


def _described(workspace: Workspace, child: Child, *, written: bool) -> dict[str, Any]:
    parent = child.config.parent
    return {
        "run": child.config.run,
        "config": workspace.relative(child.path),
        "written": written,
        "summary": child.summary,
        "parent": parent.model_dump(mode="json") if parent else None,
    }


def _require_something(workspace: Workspace, evidence: Evidence, ears: Ears) -> None:
    if evidence.measured or ears.said or ears.abx:
        return
    left_out = [f"epochs {', '.join(map(str, evidence.stale))} were measured"] if evidence.stale else []
    left_out += ears.stale
    gone = f"; left out, as the weights are no more: {'; '.join(left_out)}" if left_out else ""
    raise InputUnusable(
        f"run '{evidence.run}' was neither measured nor judged: loss alone does not say what to do next{gone}",
        hint=f"{command_line(workspace, 'probe', evidence.run)}, or record what you heard: run.sh verdict --help",
    )
