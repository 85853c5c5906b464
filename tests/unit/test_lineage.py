"""lineage: the tree of runs, moves, verdicts and voices, whatever state their files are in."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from finished_run import CONSTANT, DECAY, TIMID, make_run, run_raw, run_script, workspace_in
from tts_train.errors import ConfigError, InputUnusable
from tts_train.files import read_json, write_json
from tts_train.review.decision.next import propose
from tts_train.review.lineage import lineage
from tts_train.review.record.store import Store, database
from tts_train.review.record.verdicts import Verdict
from tts_train.workspace import Workspace, skill_root


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_in(tmp_path / "work")


def judge(workspace: Workspace, run: str, epoch: int, *heard: str, listener: str = "ann") -> None:
    with Store(database(workspace)) as store:
        store.add_verdict(Verdict(run, epoch, listener, heard))


def parent(run: str, move: str = "train-more", epoch: int = 6, *, from_weights: bool = True) -> dict:
    return {"run": run, "epoch": epoch, "move": move, "from_weights": from_weights}


def ship(workspace: Workspace, run: str, epoch: int) -> str:
    name = f"{run}-epoch-{epoch:03d}"
    write_json(workspace.runs / "voices" / name / "voice.json", {"run": run, "epoch": epoch})
    return name


def rows(result: dict) -> dict[str, dict]:
    return {row["run"]: row for row in result["runs"]}


@pytest.fixture
def family(workspace: Workspace) -> Workspace:
    """decay → remove-decay → (train-more | planned rewind); and a stranger."""
    make_run(workspace, "demo", DECAY)
    judge(workspace, "demo", 6, "no-difference")
    made = propose(workspace, "demo", write=True)["child"]["run"]
    make_run(workspace, made, CONSTANT, parent=parent("demo", "remove-decay", from_weights=False))
    judge(workspace, made, 4, "good")
    judge(workspace, made, 6, "good", "mangled")
    judge(workspace, made, 6, "mangled", listener="bob")
    ship(workspace, made, 4)
    propose(workspace, made, write=True)
    make_run(workspace, "more", CONSTANT, parent=parent(made))
    make_run(workspace, "stranger", TIMID)
    return workspace


def test_every_run_stands_under_the_one_it_came_from(family: Workspace):
    result = lineage(family)
    found = rows(result)
    assert list(found) == ["demo", "demo-remove-decay", "demo-remove-decay-rewind", "more", "stranger"]
    assert result["roots"] == ["demo", "stranger"]
    child = found["demo-remove-decay"]
    assert (child["parent"], child["epoch"], child["move"], child["from_weights"]) == ("demo", 6, "remove-decay", False)
    assert child["because"].startswith("The schedule decayed to nothing")
    assert [(item["epoch"], item["listener"], item["heard"]) for item in child["verdicts"]] == [
        (4, "ann", ("good",)),
        (6, "ann", ("mangled", "good")),
        (6, "bob", ("mangled",)),
    ]
    assert child["voices"] == ({"name": "demo-remove-decay-epoch-004", "epoch": 4},)
    planned = found["demo-remove-decay-rewind"]
    assert (planned["kind"], planned["config"]) == ("planned", "configs/tts/demo-remove-decay-rewind.yaml")
    assert planned["because"].startswith("Trained too far")


TREE = """\
demo (piper, done, 6 of 6 epochs)
│  epoch 6: no-difference (ann)
└─ remove-decay after epoch 6, from the base → demo-remove-decay (piper, done, 6 of 6 epochs)
   │  because: The schedule decayed to nothing: …
   │  epoch 4: good (ann)
   │  epoch 6: mangled, good (ann)
   │  epoch 6: mangled (bob)
   │  shipped: demo-remove-decay-epoch-004 (epoch 4)
   ├─ rewind after epoch 4, from its weights → demo-remove-decay-rewind (planned, not trained: …)
   │     because: Trained too far: …
   └─ train-more after epoch 6, from its weights → more (piper, done, 6 of 6 epochs)
stranger (piper, done, 6 of 6 epochs)"""


def test_the_tree_as_text(family: Workspace):
    text = lineage(family)["text"]
    assert "configs/tts/demo-remove-decay-rewind.yaml" in text
    assert re.sub(r"(because: [^:]*: |not trained: )[^)\n]*", r"\1…", text) == TREE


def test_the_tree_as_mermaid(family: Workspace):
    lines = lineage(family, form="mermaid")["text"].splitlines()
    assert lines[0] == "flowchart TD"
    assert '  n0 -- "remove-decay after epoch 6, from the base" --> n1' in lines
    assert '  v0(["demo-remove-decay-epoch-004"])' in lines
    assert '  n1 == "ship epoch 4" ==> v0' in lines
    assert "  class n2 planned" in lines
    # Every line is a node, an edge or a class: whatever is inside the quotes cannot end them.
    node = r'n\d+\["[^"<>]*(<br/>[^"<>]*)*"\]|v\d+\(\["[^"]*"\]\)'
    edge = r'n\d+ (-- "[^"]*" -->|== "[^"]*" ==>) [nv]\d+'
    shape = rf"{node}|{edge}|class(Def)? .+"
    assert all(re.fullmatch(rf"  ({shape})", line) for line in lines[1:])


def test_a_child_that_begins_again_is_after_no_epoch(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT)
    make_run(workspace, "lower", CONSTANT, parent=parent("demo", "lower-lr-continue", 0, from_weights=False))
    assert "└─ lower-lr-continue, from the base → lower (piper" in lineage(workspace)["text"]


def test_names_that_would_break_a_label_are_escaped(workspace: Workspace):
    make_run(workspace, "demo", CONSTANT)
    judge(workspace, "demo", 6, "good", listener='"]; a #1 <b>')
    text = lineage(workspace, form="mermaid")["text"]
    assert "(#quot;]; a #35;1 #lt;b#gt;)" in text
    assert text.count('"') == 2


def test_the_tree_as_json(family: Workspace, tmp_path: Path):
    result = lineage(family, form="json", output=tmp_path / "out" / "tree.json")
    written = read_json(tmp_path / "out" / "tree.json")
    assert written["roots"] == result["roots"]
    assert [row["run"] for row in written["runs"]] == [row["run"] for row in result["runs"]]


@pytest.mark.parametrize(
    ("run", "shown"),
    [
        ("stranger", ["stranger"]),
        ("more", ["demo", "demo-remove-decay", "more"]),
        ("demo-remove-decay", ["demo", "demo-remove-decay", "demo-remove-decay-rewind", "more"]),
    ],
)
def test_one_run_is_shown_with_its_ancestors_and_descendants(family: Workspace, run: str, shown: list[str]):
    assert list(rows(lineage(family, run))) == shown


def test_a_planned_child_that_was_trained_is_planned_no_more(family: Workspace):
    make_run(family, "demo-remove-decay-rewind", CONSTANT, parent=parent("demo-remove-decay", "rewind", 4))
    assert {row["kind"] for row in lineage(family)["runs"]} == {"run"}


def test_a_parent_that_was_removed_still_holds_its_children(workspace: Workspace):
    make_run(workspace, "one", CONSTANT, parent=parent("gone"))
    make_run(workspace, "two", CONSTANT, parent=parent("gone"))
    result = lineage(workspace)
    assert rows(result)["gone"]["kind"] == "missing"
    assert result["roots"] == ["gone"]
    assert "gone (not here: it was removed or is in another workspace)" in result["text"]


def test_what_cannot_be_read_is_listed_and_hides_nothing(workspace: Workspace):
    make_run(workspace, "good", CONSTANT)
    (make_run(workspace, "torn", CONSTANT).path / "run.json").write_text("{")
    (make_run(workspace, "odd", CONSTANT).path / "run.json").write_text('{"config": {"voice": 3}}')
    (workspace.configs / "typo.yaml").write_text("run: typo-child\nparent: {run: good, epoch: 1, mov: rewind}\n")
    (workspace.configs / "unclosed.yaml").write_text("run: [")
    (workspace.configs / "plain.yaml").write_text("run: plain\nlr: many\n")
    for name, text in (("a", "{"), ("b", "[]"), ("c", '{"run": "good"}'), ("d", '{"run": "good", "epoch": "x"}')):
        (workspace.runs / "voices" / name).mkdir(parents=True)
        (workspace.runs / "voices" / name / "voice.json").write_text(text)
    result = lineage(workspace)
    kinds = {name: row["kind"] for name, row in rows(result).items()}
    assert kinds == {"good": "run", "torn": "broken", "odd": "broken", "typo-child": "broken", "unclosed": "broken"}
    assert all(row["problem"] for row in result["runs"] if row["kind"] == "broken")
    assert rows(result)["good"]["voices"] == ()


def test_runs_in_a_circle_are_drawn_once_and_said(workspace: Workspace):
    make_run(workspace, "a", CONSTANT, parent=parent("b"))
    make_run(workspace, "b", CONSTANT, parent=parent("a"))
    make_run(workspace, "self", CONSTANT, parent=parent("self"))
    make_run(workspace, "child", CONSTANT, parent=parent("b"))
    result = lineage(workspace)
    assert sorted(rows(result)) == ["a", "b", "child", "self"]
    assert result["roots"] == ["a", "self"]
    assert result["text"].count("(a circle: see above)") == 2
    assert sorted(rows(lineage(workspace, "child"))) == ["a", "b", "child"]
    assert lineage(workspace, form="mermaid")["text"].count("-->") == 4


def test_a_long_line_of_descent_is_no_problem(workspace: Workspace):
    run = make_run(workspace, "r0000", CONSTANT, epochs=0, measured=False)
    facts = run.info()
    for number in range(1, 1200):
        child = {**facts["config"], "run": f"r{number:04d}", "parent": parent(f"r{number - 1:04d}")}
        path = workspace.runs / f"r{number:04d}" / "run.json"
        path.parent.mkdir()
        path.write_text(json.dumps({**facts, "run": path.parent.name, "config": child}))
    assert len(lineage(workspace, "r0600")["runs"]) == 1200


def test_an_unknown_run_is_refused_with_those_there_are(family: Workspace):
    with pytest.raises(InputUnusable, match="no run 'dem'") as refused:
        lineage(family, "dem")
    assert "stranger" in refused.value.hint
    with pytest.raises(ConfigError):
        lineage(family, "../demo")


def test_no_runs_is_an_answer(workspace: Workspace):
    result = run_script("lineage", "--workspace", workspace.root)
    assert result == {"runs": [], "roots": [], "format": "text", "text": "no runs yet: run.sh train-local CONFIG"}
    assert not database(workspace).exists()


def test_the_command(family: Workspace, tmp_path: Path):
    out = tmp_path / "tree.mmd"
    options = ("--format", "mermaid", "--output", out, "--workspace", family.root)
    result = run_script("lineage", "more", *options)
    assert out.read_text() == result["text"]
    assert [row["run"] for row in result["runs"]] == ["demo", "demo-remove-decay", "more"]
    script = str(skill_root() / "scripts/lineage.py")
    human = run_raw([sys.executable, script, "--human", "--workspace", str(family.root)])
    assert human.stdout == lineage(family)["text"] + "\n"
    assert run_script("lineage", "nobody", "--workspace", family.root, code=65)["kind"] == "input-unusable"
