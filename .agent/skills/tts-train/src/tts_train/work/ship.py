"""ship: a judged epoch as a voice package, or every reason why not.

Shipping is the one step that cannot be taken back, so what speaks against it is said all at once and can only be
overridden by a reason, which travels with the voice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from tts_train import __version__, jobs
from tts_train.backends import backend
from tts_train.dataset import CARD
from tts_train.errors import InputUnusable, Problem, UsageError
from tts_train.files import publish_folder, read_json, write_json
from tts_train.probe.render import MEASURES, RENDER, render_folder
from tts_train.review.commandline import command_line, shown
from tts_train.training.status import now
from tts_train.work.ship_case import Case, read_case
from tts_train.work.voice_build import without_paths
from tts_train.work.voice_package import ELSEWHERE, FORMAT, MANIFEST, find_voice
from tts_train.workspace import Workspace


def ship(
    workspace: Workspace,
    run: str,
    epoch: int,
    *,
    out: Path | None = None,
    because: str | None = None,
    card: Path | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Make a voice package of a published epoch in `out` (a folder of packages) [artifacts/tts/voices].

    `because` overrides refusals and is recorded; `card` is the dataset's card for a run whose dataset is not known.
    Returns {voice, run, epoch, confirmed, confirmed_by, verified, verification, refused, because, bytes, base_licence,
    next, text}; with `dry_run` nothing is made, and `refused` says what speaks against it.

    Raises UsageError for epoch 0 and an empty reason; InputUnusable for a pruned epoch, with every refusal, and when
    the package does not say what was judged; ConfigError for an epoch that is not published or a wrong card.
    """
    if epoch == 0:
        raise UsageError("epoch 0 is the untouched base", hint="ship a trained epoch; the base is its own file already")
    if because is not None and not because.strip():
        raise UsageError("--because is empty", hint="say why it may be shipped all the same")
    case = read_case(workspace, run, epoch, card)
    final = (out or workspace.voices).resolve() / case.name
    _require_replaceable(final, workspace)
    if dry_run:
        return _plan(case, final)
    if case.refusals and because is None:
        raise _refused(case)
    manifest = _build(workspace, case, final, because)
    if final.parent != workspace.voices.resolve():
        _note_elsewhere(workspace, case, final)
    return _result(workspace, case, final, manifest)


def _refused(case: Case) -> InputUnusable:
    against, one = case.refusals, len(case.refusals) == 1
    return InputUnusable(
        f"{case.name} is not shipped: {against[0].message if one else f'{len(against)} things speak against it'}",
        hint="put it right, or give the reason why it may be shipped all the same: --because REASON",
        problems=[] if one else [Problem(f"{item.kind}: {item.message}") for item in against],
    )


def _require_replaceable(final: Path, workspace: Workspace) -> None:
    """Publishing replaces a folder: only ever an older package."""
    if final.exists() and find_voice(str(final), workspace) is None:
        raise UsageError(f"{final} is there and no voice package", hint="move it away, or choose another --out")


def _build(workspace: Workspace, case: Case, final: Path, because: str | None) -> dict[str, Any]:
    config = case.run.config()
    family = backend(config.backend)
    key = read_json(case.run.path / "renders" / case.key / "key.json") if case.key else None
    setting = key["setting"] if key else {"knobs": dict(family.knobs), "threads": config.threads, "dtype": "float32"}
    refused = [asdict(item) for item in case.refusals]
    draft = {
        "format": FORMAT,
        "name": case.name,
        "run": case.run.name,
        "epoch": case.epoch.number,
        "backend": family.name,
        "inference_version": family.inference_version,
        "knobs": setting["knobs"],
        "seeds": key["seeds"] if key else list(family.default_seeds),
        "threads": setting["threads"],
        "dtype": setting["dtype"],
        "render_key": case.key,
        "weights_sha256": case.epoch.weights_sha256,
        "dataset_sha256": case.run.info().get("dataset_sha256"),
        "parent": config.parent.model_dump(mode="json") if config.parent else None,
        "card": case.card.model_dump() if case.card else None,
        "licence": case.card.licence if case.card else None,
        "consent_basis": case.card.consent_basis if case.card else None,
        "confirmed": bool(case.confirmed_by),
        "confirmed_by": case.confirmed_by,
        "overrides": {"because": because, "refusals": refused} if because and refused else None,
        "created": now(),
        "tts_train": __version__,
    }
    metrics = _metrics(case)
    rows = [verdict.as_row() for verdict in case.verdicts]
    documents = {
        "config.yaml": yaml.safe_dump(without_paths(config.frozen()), sort_keys=False, allow_unicode=True),
        "metrics.json": _json(metrics),
        "verdicts.json": _json({"verdicts": rows, "trials": list(case.trials)}),
        **({CARD: case.card_text} if case.card_text else {}),
    }
    story = {
        "metrics": metrics,
        "verdicts": [verdict.quoted() for verdict in case.verdicts],
        "trials": len(case.trials),
        "card": draft["card"],
    }
    built: dict[str, Any] = jobs.call(
        family.environment,
        "tts_train.work.voice_build:build",
        {
            "workspace": str(workspace.root),
            "run": case.run.name,
            "epoch": case.epoch.number,
            "out": str(final),
            "draft": draft,
            "documents": documents,
            "story": story,
            "judged": _judged(case, key),
        },
    )
    return built


def _metrics(case: Case) -> dict[str, Any]:
    """What was measured of epoch, base and target under the one key, without single items, and what training noted."""
    places = {"epoch": case.epoch.number, "base": 0, "target": None}
    found: dict[str, Any] = {"render_key": case.key, "training": without_paths(case.epoch.info)}
    for name, number in places.items():
        if case.key is None:
            found[name] = None
            continue
        folder = render_folder(case.run, case.key, number or 0)
        path = (folder if number is not None else folder.parent / "target") / MEASURES
        record: Mapping[str, Any] | None = read_json(path) if path.is_file() else None
        found[name] = record and {part: value for part, value in record.items() if part != "items"}
    if any(item.kind == "measures" for item in case.refusals):
        found["epoch"] = None  # of other weights, or spoken another way: not this epoch's
    return found


def _judged(case: Case, key: Mapping[str, Any] | None) -> dict[str, Any]:
    """The shortest render of the epoch, which the package has to repeat; {why} when there is none to hold it to."""
    against = [item.message for item in case.refusals if item.kind == "measures"]
    if key is None or case.key is None or against:
        return {"why": against[0] if against else "nothing was rendered"}
    rendered = read_json(render_folder(case.run, case.key, case.epoch.number) / RENDER)["items"]
    shortest = min(rendered, key=lambda item: (item["audio_seconds"], item["id"], item["seed"]))
    return {
        "item": shortest["id"],
        "seed": shortest["seed"],
        "text": key["texts"][shortest["id"]],
        "sha256": shortest["sha256"],
    }


def _note_elsewhere(workspace: Workspace, case: Case, final: Path) -> None:
    """Leave word of it here, for lineage and prune; a package of the same epoch that is here says as much."""
    folder = workspace.voices / case.name
    if find_voice(str(folder), workspace) and (folder / "SHA256SUMS").is_file():
        return
    note = {
        "format": ELSEWHERE,
        "run": case.run.name,
        "epoch": case.epoch.number,
        "folder": str(final),
        "created": now(),
    }
    publish_folder(folder, lambda target: write_json(target / MANIFEST, note))


def _plan(case: Case, final: Path) -> dict[str, Any]:
    assert case.epoch.folder is not None
    size = sum(path.stat().st_size for path in case.epoch.folder.rglob("*") if path.is_file())
    verb = "would be refused without --because" if case.refusals else "would be shipped"
    return {
        "voice": str(final),
        "run": case.run.name,
        "epoch": case.epoch.number,
        "confirmed": bool(case.confirmed_by),
        "refused": [asdict(item) for item in case.refusals],
        "epoch_bytes": size,
        "text": "\n".join(
            [
                f"{case.name} {verb}, to {shown(final)}: {size / 1e9:.2f} GB, and of the base what it needs",
                *(f"  {item.kind}: {item.message}" for item in case.refusals),
                *_loud(case),
            ]
        ),
    }


def _loud(case: Case) -> list[str]:
    return [] if case.confirmed_by else ["  NOT CONFIRMED: no listener judged this epoch as good"]


def _result(workspace: Workspace, case: Case, final: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    command = command_line(workspace, "infer", shown(final), "hello.wav", "--text", "Hello.")
    overrides, licence = manifest["overrides"], manifest["base"]["licence"]
    checked = manifest["verification"]
    size = sum(item["bytes"] for item in manifest["files"].values())
    lines = [
        f"{shown(final)}: {size / 1e9:.2f} GB",
        f"  base {manifest['base']['name']}: {licence['name']}"
        + ("; NON-COMMERCIAL USE ONLY" if licence["commercial"] is False else ""),
        f"  verified: '{checked['item']}' came out as it was judged"
        if manifest["verified"]
        else f"  NOT VERIFIED: {checked['why']}",
        *_loud(case),
        *([f"  shipped all the same, because: {overrides['because']}"] if overrides else []),
        *(f"    {item.kind}: {item.message}" for item in case.refusals),
        "Type:",
        f"  {command}",
    ]
    return {
        "voice": str(final),
        **{name: manifest[name] for name in ("run", "epoch", "confirmed", "confirmed_by", "verified", "verification")},
        "refused": [asdict(item) for item in case.refusals],
        "because": overrides["because"] if overrides else None,
        "bytes": size,
        "base_licence": licence,
        "next": command,
        "text": "\n".join(lines),
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
