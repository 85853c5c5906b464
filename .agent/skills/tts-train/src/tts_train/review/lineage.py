"""lineage: the tree of runs, the moves that led from one to the next, what was heard, and what was shipped.

run.json is the truth of which run came from which; configs that `next --write` made and nobody trained yet are its
planned children. The reason of a move comes from the review store, verdicts too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tts_train.config import Parent, TrainConfig
from tts_train.errors import ConfigError, InputUnusable, TtsTrainError
from tts_train.files import read_json, write_text
from tts_train.review.record.store import Store, database, verdicts_of
from tts_train.review.record.verdicts import current
from tts_train.review.tree import mermaid, tree_text
from tts_train.training.run import RunFolder
from tts_train.training.status import read_status
from tts_train.workspace import Workspace, check_name
from tts_train.yaml_config import load_yaml, validate

Kind = Literal["run", "planned", "broken", "missing"]


@dataclass(frozen=True)
class Heard:
    """The last words on one epoch."""

    epoch: int
    listener: str
    heard: tuple[str, ...]


@dataclass(frozen=True)
class Voice:
    """A shipped epoch."""

    name: str
    epoch: int


@dataclass(frozen=True)
class Node:
    """A run: trained, planned (a config), broken (its files cannot be read), or missing (only named as a parent)."""

    run: str
    kind: Kind
    state: str = ""
    backend: str | None = None
    epochs: int = 0
    epochs_planned: int = 0
    adopted: bool = False
    parent: str | None = None
    epoch: int | None = None
    """The parent's epoch that the move spoke of, or began with."""
    move: str | None = None
    from_weights: bool = False
    because: str | None = None
    config: str | None = None
    """Of a planned run."""
    problem: str | None = None
    """Of a broken one."""
    verdicts: tuple[Heard, ...] = ()
    voices: tuple[Voice, ...] = ()


def lineage(
    workspace: Workspace, run: str | None = None, *, form: str = "text", output: Path | None = None
) -> dict[str, Any]:
    """The tree of all runs, or of one with its ancestors and descendants.

    `form` is what `text` holds (and `output` gets): text, json or mermaid. Returns {runs [{run, kind, state, …, parent,
    epoch, move, because, verdicts, voices}], roots, format, text}; parents come before their children. What cannot be
    read is listed as broken. Raises InputUnusable when there is no such run.
    """
    nodes = _nodes(workspace)
    if run is not None:
        nodes = _family(nodes, check_name(run, "run"))
    children = _children(nodes)
    order, roots = _ordered(nodes, children)
    rows = [asdict(nodes[name]) for name in order]
    drawn = {
        "text": lambda: tree_text(nodes, children, roots),
        "mermaid": lambda: mermaid([nodes[name] for name in order]),
        "json": lambda: json.dumps({"runs": rows, "roots": roots}, ensure_ascii=False, indent=2) + "\n",
    }[form]()
    result: dict[str, Any] = {"runs": rows, "roots": roots, "format": form, "text": drawn}
    if output is not None:
        write_text(output, drawn if drawn.endswith("\n") else drawn + "\n")
        result["output"] = str(output)
    return result


def _nodes(workspace: Workspace) -> dict[str, Node]:
    """Every run by name, in alphabetical order."""
    voices, reasons = _voices(workspace), _reasons(workspace)
    found = {folder.name: _trained(workspace, folder) for folder in _run_folders(workspace)}
    for path in sorted(workspace.configs.glob("*.yaml")):
        planned = _planned(workspace, path)
        if planned is not None:
            found.setdefault(planned.run, planned)
    named = {node.parent: node for node in found.values() if node.parent}
    for name in named.keys() - found.keys():
        found[name] = Node(name, "missing", problem="it was removed or is in another workspace")
    return {
        name: replace(found[name], because=reasons.get(name), voices=tuple(voices.get(name, ())))
        for name in sorted(found)
    }


def _run_folders(workspace: Workspace) -> Iterator[Path]:
    yield from sorted(path.parent for path in workspace.runs.glob("*/run.json"))


def _trained(workspace: Workspace, folder: Path) -> Node:
    try:
        run = RunFolder(folder)
        config, info, published = run.config(), run.info(), run.epochs()
        verdicts = current(verdicts_of(workspace, folder.name))
        return replace(
            _from_config(folder.name, config),
            state=str(read_status(folder)["state"]),
            epochs=len(published),
            adopted=bool(info.get("adopted")),
            verdicts=tuple(Heard(item.epoch, item.listener, item.heard) for item in verdicts),
        )
    except (TtsTrainError, ValueError, KeyError) as error:
        return Node(folder.name, "broken", problem=_first_line(error))


def _planned(workspace: Workspace, path: Path) -> Node | None:
    """A config with a parent: a move was written and not trained yet. Others are nobody's children."""
    place, name, told = workspace.relative(path), path.stem, True
    try:
        document = load_yaml(path)
        told = isinstance(document.data, Mapping) and "parent" in document.data
        name = str(document.data.get("run", name)) if told else name
        config = validate(TrainConfig, document, path)
    except ConfigError as error:
        return Node(name, "broken", config=place, problem=_first_line(error)) if told else None
    if config.parent is None:
        return None
    return replace(_from_config(config.run, config), kind="planned", state="planned", config=place)


def _from_config(name: str, config: TrainConfig) -> Node:
    node = Node(name, "run", backend=config.backend, epochs_planned=config.epochs)
    parent: Parent | None = config.parent
    if parent is None:
        return node
    return replace(node, parent=parent.run, epoch=parent.epoch, move=parent.move, from_weights=parent.from_weights)


def _voices(workspace: Workspace) -> dict[str, list[Voice]]:
    """Run → its shipped epochs."""
    shipped: dict[str, list[Voice]] = {}
    for path in sorted(workspace.voices.glob("[!.]*/voice.json")):
        try:
            facts = read_json(path)
            voice = Voice(path.parent.name, int(facts["epoch"]))
            shipped.setdefault(str(facts["run"]), []).append(voice)
        except (TtsTrainError, ValueError, KeyError, TypeError):
            continue  # a damaged package is infer's to refuse; it says nothing of a run
    return shipped


def _reasons(workspace: Workspace) -> dict[str, str]:
    """Child run → why it was made, as the move that made it said."""
    if not database(workspace).is_file():
        return {}
    with Store(database(workspace)) as store:
        moves = store.moves()
    told = ((move["child_run"], move["proposal"]) for move in moves if move["child_run"])
    return {child: str(proposal.get("diagnosis") or proposal.get("rule") or "") for child, proposal in told}


def _family(nodes: Mapping[str, Node], run: str) -> dict[str, Node]:
    """A run with its ancestors and its descendants."""
    if run not in nodes:
        hint = f"one of: {', '.join(nodes)}" if nodes else "train one first: run.sh train-local CONFIG"
        raise InputUnusable(f"there is no run '{run}'", hint=hint)
    kept = {run}
    above = nodes[run].parent
    while above is not None and above not in kept:
        kept.add(above)
        above = nodes[above].parent
    children, below = _children(nodes), [run]
    while below:
        new = [name for name in children.get(below.pop(), ()) if name not in kept]
        kept.update(new)
        below += new
    return {name: node for name, node in nodes.items() if name in kept}


def _children(nodes: Mapping[str, Node]) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {}
    for name, node in nodes.items():
        if node.parent in nodes:
            children.setdefault(str(node.parent), []).append(name)
    return children


def _ordered(nodes: Mapping[str, Node], children: Mapping[str, Iterable[str]]) -> tuple[list[str], list[str]]:
    """Names with parents first, and the roots. Runs in a circle (edited by hand) begin at the first by name."""
    order: list[str] = []
    roots: list[str] = []
    beginnings = [name for name, node in nodes.items() if node.parent not in nodes]
    for start in (*beginnings, *nodes):
        if start in order:
            continue
        roots.append(start)
        waiting = [start]
        while waiting:
            name = waiting.pop()
            if name not in order:
                order.append(name)
                waiting += reversed(list(children.get(name, ())))
    return order, roots


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
