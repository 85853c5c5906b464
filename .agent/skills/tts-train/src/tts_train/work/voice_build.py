"""Building a voice package, in the family's environment: copy, list, write the card, let it speak, publish whole.

Everything is copied, also where a link would save a gigabyte: a package outlives its run, and a program that rewrites
the run's base in place (stock coqui-tts does) must not change it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tts_train.backends import backend, base_of, hub
from tts_train.backends.licences import PackedBase
from tts_train.dataset import Card
from tts_train.errors import InputUnusable, TtsTrainError, Unavailable
from tts_train.files import publish_folder, require_space, sha256_file, write_json, write_text
from tts_train.output import progress
from tts_train.training.run import Epoch, RunFolder
from tts_train.work.model_card import Story, licences, model_card
from tts_train.work.speak import speak_voice
from tts_train.work.voice_package import (
    BASE,
    EPOCH,
    MANIFEST,
    SUMS,
    read_voice,
    shape_problems,
)
from tts_train.workspace import Workspace

SPARE_BYTES = 10_000_000
"""Of documents and what a file system takes for itself."""


def build(
    workspace: str,
    run: str,
    epoch: int,
    out: str,
    draft: dict[str, Any],
    documents: dict[str, str],
    story: dict[str, Any],
    judged: dict[str, Any],
) -> dict[str, Any]:
    """Make the package `out` of a published epoch (worker entry, family's environment). Returns voice.json's content.

    draft: the manifest without what is found out here (voice, base, files, verified, verification). documents: name →
    text of further files. story: {metrics, verdicts, trials, card} for the model card. judged: {item, seed, text,
    sha256} of a render the package must repeat, or {why} when there is none.

    Nothing is published unless all of it is. Raises InputUnusable when weights or reference are not what they were, or
    the package does not say what was judged; what finding the base and speaking raise.
    """
    place = Workspace(Path(workspace))
    folder = RunFolder(place.run(run))
    config, chosen = folder.config(), folder.epoch(epoch)
    chosen.require_weights()
    family = backend(config.backend)
    base = family.package_base(base_of(config, place))
    facts, reference = _facts(folder.voice(place), base)
    copies = {
        **{f"{EPOCH}/{name}": path for name, path in _epoch_files(chosen)},
        **{f"{BASE}/{path.name}": path for path in base.files},
        **({facts["reference"]: reference} if reference else {}),
    }
    final = Path(out)
    require_space(final, sum(path.stat().st_size for path in copies.values()) + SPARE_BYTES)
    manifest: dict[str, Any] = {
        **draft,
        "voice": facts,
        "base": {
            "name": base.name,
            "hub": config.base if hub.is_id(config.base) and not place.path(config.base).exists() else None,
            "path": None if base.path is None else str(Path(BASE) / base.path),
            "sha256": folder.info().get("base", {}).get("sha256"),
            "licence": asdict(base.licence),
        },
        "verified": None,
        "verification": {"why": "it has not spoken yet"},
    }
    card = Card.model_validate(story["card"]) if story["card"] else None
    tell = Story(manifest, story["metrics"], story["verdicts"], story["trials"], card, base.licence)

    def fill(target: Path) -> None:
        for name, source in copies.items():
            progress(f"copying {name}")
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / name)
        if (target / EPOCH / "epoch.json").is_file():
            write_json(target / EPOCH / "epoch.json", without_paths(chosen.info))
        for name, text in documents.items():
            write_text(target / name, text)
        write_text(target / "LICENSE.md", licences(tell))
        sums = {name: _listed(target / name) for name in sorted(_names(target))}
        _require_same_weights(chosen, sums)
        _seal(target, manifest, sums)
        problems = shape_problems(read_voice(target))
        if problems:
            raise TtsTrainError(
                f"the package would be refused by infer: {problems[0]}",
                hint="nothing was published; please report it",
                problems=problems,
            )
        manifest["verified"], manifest["verification"] = _verify(target, facts, judged)
        write_text(target / "README.md", model_card(tell))
        sums["README.md"] = _listed(target / "README.md")
        _seal(target, manifest, sums)

    publish_folder(final, fill)
    return manifest


def without_paths(value: Any) -> Any:
    """`value` with every absolute path in it cut to its last name: a package tells nobody whose machine it is from."""
    if isinstance(value, Mapping):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(item) for item in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _facts(voice: Mapping[str, Any], base: PackedBase) -> tuple[dict[str, Any], Path | None]:
    """The voice's facts as the package has them, and the recording to copy."""
    facts = dict(voice)
    given, expected = facts.pop("reference", None), facts.pop("reference_sha256", None)
    if given is None:
        return facts, None
    reference = Path(given)
    if not reference.is_file() or (expected and sha256_file(reference) != expected):
        if base.path is None:
            progress(f"the reference {reference} is gone or another file: left out, the epoch speaks without it")
            return facts, None
        raise InputUnusable(
            f"the reference {reference} is gone, or another file than when the run began", hint="restore it"
        )
    name = f"reference{reference.suffix.lower()}"
    return {**facts, "reference": name, "reference_sha256": sha256_file(reference)}, reference


def _epoch_files(epoch: Epoch) -> Iterator[tuple[str, Path]]:
    assert epoch.folder is not None
    for path in sorted(epoch.folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield path.relative_to(epoch.folder).as_posix(), path


def _require_same_weights(epoch: Epoch, sums: Mapping[str, Mapping[str, Any]]) -> None:
    name = f"{EPOCH}/{epoch.info['weights']}"
    if name not in sums or sums[name]["sha256"] != epoch.weights_sha256:
        raise InputUnusable(
            f"the weights of epoch {epoch.number} of '{epoch.run}' are not those that were published",
            hint="they were changed or damaged on disk: train the epoch again or restore it",
        )


def _names(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in (SUMS, MANIFEST):
            yield name


def _listed(path: Path) -> dict[str, Any]:
    return {"sha256": sha256_file(path), "bytes": path.stat().st_size}


def _seal(folder: Path, manifest: dict[str, Any], sums: Mapping[str, Mapping[str, Any]]) -> None:
    manifest["files"] = {name: dict(sums[name]) for name in sorted(sums)}
    write_json(folder / MANIFEST, manifest)
    digests = {**{name: item["sha256"] for name, item in sums.items()}, MANIFEST: sha256_file(folder / MANIFEST)}
    write_text(folder / SUMS, "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)))


def _verify(
    folder: Path, facts: Mapping[str, Any], judged: Mapping[str, Any], speak: Callable[..., Any] = speak_voice
) -> tuple[bool | None, dict[str, Any]]:
    """(verified, how): whether the package repeats the judged render. None: that could not be tried."""
    if "sha256" not in judged:
        return None, dict(judged)
    item = {"item": judged["item"], "seed": judged["seed"], "sha256": judged["sha256"]}
    gpu = facts.get("device", "cpu") != "cpu"
    progress(f"speaking '{judged['item']}' from the package")
    with tempfile.TemporaryDirectory(prefix="tts-train-ship-") as scratch:
        try:
            said = speak(str(folder), judged["text"], str(Path(scratch) / "said.wav"), judged["seed"], {})
        except Unavailable as error:
            if not gpu:
                raise
            return None, {**item, "why": f"judged on a GPU: {error.message}"}
    if said["audio_sha256"] == judged["sha256"]:
        return True, item
    if gpu:
        return False, {**item, "why": "judged on a GPU: another one, or other libraries, round otherwise"}
    raise InputUnusable(
        f"the package does not say what was judged: '{judged['item']}' (seed {judged['seed']}) came out otherwise",
        hint="was it rendered on another machine or with other libraries? Remove the run's renders of this epoch, "
        "probe it again here, listen, and ship what you heard",
    )
