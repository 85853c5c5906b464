"""Drawing the lineage: as lines for a terminal, as a Mermaid flowchart for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tts_train.review.lineage import Node

_CLASSES = {"planned": "stroke-dasharray: 5 5", "broken": "stroke-width: 3px", "missing": "stroke-dasharray: 2 4"}


def tree_text(nodes: Mapping[str, Node], children: Mapping[str, Sequence[str]], roots: Sequence[str]) -> str:
    """One tree per root; each child hangs under the move that made it."""
    if not nodes:
        return "no runs yet: run.sh train-local CONFIG"
    lines: list[str] = []
    drawn: set[str] = set()
    waiting = [(name, "", "") for name in reversed(roots)]
    while waiting:
        name, before, below = waiting.pop()
        node = nodes[name]
        arrow = f"{_moved(node)} → " if before else ""
        again = name in drawn
        lines.append(f"{before}{arrow}{name} ({'a circle: see above' if again else _state(node)})")
        if again:
            continue
        drawn.add(name)
        under = list(children.get(name, ()))
        stem = below + ("│  " if under else "   ")
        lines += [f"{stem}{line}" for line in _details(node, in_tree=bool(before))]
        last = len(under) - 1
        places = [
            (child, below + ("└─ " if index == last else "├─ "), below + ("   " if index == last else "│  "))
            for index, child in enumerate(under)
        ]
        waiting += reversed(places)
    return "\n".join(lines)


def mermaid(nodes: Sequence[Node]) -> str:
    """A flowchart, parents above their children, shipped voices as rounded nodes."""
    places = {node.run: f"n{number}" for number, node in enumerate(nodes)}
    lines = ["flowchart TD"]
    for node in nodes:
        label = "<br/>".join(_escaped(text) for text in (node.run, _state(node), *_heard(node)))
        lines.append(f'  {places[node.run]}["{label}"]')
    children = [(node, places[node.parent]) for node in nodes if node.parent in places]
    lines += [f'  {parent} -- "{_escaped(_moved(node))}" --> {places[node.run]}' for node, parent in children]
    shipped = [(node, voice) for node in nodes for voice in node.voices]
    for number, (node, voice) in enumerate(shipped):
        lines.append(f'  v{number}(["{_escaped(voice.name)}"])')
        lines.append(f'  {places[node.run]} == "ship epoch {voice.epoch}" ==> v{number}')
    for kind, style in _CLASSES.items():
        of_kind = [places[node.run] for node in nodes if node.kind == kind]
        lines += [f"  classDef {kind} {style}", f"  class {','.join(of_kind)} {kind}"] if of_kind else []
    return "\n".join(lines) + "\n"


def _state(node: Node) -> str:
    if node.kind == "planned":
        return f"planned, not trained: {node.config}"
    if node.kind == "broken":
        return f"cannot be read: {node.problem}"
    if node.kind == "missing":
        return f"not here: {node.problem}"
    trained = "adopted" if node.adopted else node.state
    return f"{node.backend}, {trained}, {node.epochs} of {node.epochs_planned} epochs"


def _moved(node: Node) -> str:
    start = "its weights" if node.from_weights else "the base"
    spoken_of = f" after epoch {node.epoch}" if node.epoch else ""
    return f"{node.move}{spoken_of}, from {start}"


def _details(node: Node, *, in_tree: bool) -> list[str]:
    because = [f"because: {node.because}"] if node.because and in_tree else []
    return [*because, *_heard(node), *(f"shipped: {voice.name} (epoch {voice.epoch})" for voice in node.voices)]


def _heard(node: Node) -> list[str]:
    return [f"epoch {item.epoch}: {', '.join(item.heard)} ({item.listener})" for item in node.verdicts]


def _escaped(text: str) -> str:
    """Mermaid's entities: a quote would end the label, a # begin an entity."""
    for character, entity in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("\n", " ")):
        text = text.replace(character, entity)
    return text
