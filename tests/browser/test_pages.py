"""The Runs and Verdicts pages by Streamlit's AppTest: what they show of runs in every state, the one thing they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from measured_run import measured_workspace
from streamlit.config import get_config_options
from streamlit.testing.v1 import AppTest

from finished_run import CONSTANT, make_run
from tts_train.review.record.verdicts import Verdict
from tts_train.review.recording import record_verdict
from tts_train.review.sessions.answers import Answer, record_answer
from tts_train.review.sessions.sessions import close_session, new_session
from tts_train.workspace import Workspace

MAIN = Path(__file__).parents[2] / "dashboard/main.py"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    place = measured_workspace(tmp_path)
    monkeypatch.setenv("TTS_TRAIN_WORKSPACE", str(place.root))
    monkeypatch.chdir(MAIN.parent)
    get_config_options(force_reparse=True)  # the dashboard's own config.toml, its theme among it
    return place


def opened(page: str, **query: str) -> AppTest:
    """A page as a visitor with this address finds it; an exception on it fails the test."""
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    app.switch_page(f"app_pages/{page}.py")
    return clean(app.run())


def clean(app: AppTest) -> AppTest:
    assert not app.exception, [item.value for item in app.exception]
    return app


def texts(app: AppTest) -> str:
    """All that is written on the page."""
    kinds = ("markdown", "caption", "info", "warning", "error", "success", "code", "header", "subheader")
    return "\n".join(str(item.value) for kind in kinds for item in getattr(app, kind)).replace("\\", "")


def frame(app: AppTest, *columns: str) -> list[dict[str, Any]]:
    """The rows of the table that has these columns."""
    for table in app.dataframe:
        if set(columns) <= set(table.value.columns):
            return list(table.value.to_dict("records"))
    raise AssertionError([list(table.value.columns) for table in app.dataframe])


def test_the_list_and_the_run_of_the_address(workspace: Workspace):
    app = opened("runs", run="demo")
    rows = {row["run"]: row for row in frame(app, "run", "verdicts")}
    assert set(rows) == {"demo", "other"}
    assert (rows["demo"]["state"], rows["other"]["epochs"]) == ("done", "2 of 6")
    assert "done, 6 of 6 epochs" in texts(app)
    epochs = frame(app, "epoch", "gates")
    assert [row["epoch"] for row in epochs] == list(range(7))
    assert len(app.get("vega_lite_chart") or app.get("arrow_vega_lite_chart")) == 4, "loss, lr, Σlr and drift"


def test_a_run_that_was_not_measured_says_what_to_type(workspace: Workspace):
    app = opened("runs", run="other")
    told = texts(app)
    assert "stopped, 2 of 6 epochs" in told
    assert "probe other" in told
    assert str(workspace.root) in told, "the reader's shell does not know the server's workspace"
    assert "No accent evidence" in texts(opened("runs", run="other", part="Evidence"))
    assert "neither measured nor judged" in texts(opened("runs", run="other", part="Next move"))


def test_broken_runs_hide_nothing(workspace: Workspace):
    for name, text in (("torn", "{"), ("empty", "{}")):
        (workspace.runs / name).mkdir()
        (workspace.runs / name / "run.json").write_text(text)
    rows = {row["run"]: row["state"] for row in frame(opened("runs", run="demo"), "run", "verdicts")}
    assert (rows["torn"], rows["empty"], rows["demo"]) == ("unreadable", "unreadable", "done")
    app = opened("runs", run="torn")
    assert {row["run"] for row in frame(app, "run", "verdicts")} >= {"demo", "torn"}
    assert app.error, "the page says what is wrong with the chosen run"
    assert opened("runs", run="empty").error


def test_evidence_and_vowels(workspace: Workspace):
    rows = frame(opened("runs", run="demo", part="Evidence"), "evidence", "epoch")
    assert {row["evidence"] for row in rows} == {"foot-strut", "face-glide"}
    app = opened("runs", run="demo", part="Vowels", epoch="2")
    assert app.multiselect[0].value == ["epoch 2"], "the address names the epoch"
    means = frame(app, "source", "set")
    assert {row["source"] for row in means} == {"the base", "epoch 2", "the real speaker"}
    app = clean(app.multiselect[0].set_value(["epoch 1", "epoch 6"]).run())
    assert {row["source"] for row in frame(app, "source", "set")} == {
        "the base",
        "epoch 1",
        "epoch 6",
        "the real speaker",
    }
    app = clean(app.multiselect[1].set_value([]).run())
    assert "choose a lexical set" in texts(app)


def test_the_button_writes_one_child_and_trains_nothing(workspace: Workspace):
    first, second = opened("runs", run="demo", part="Next move"), opened("runs", run="demo", part="Next move")
    before = sorted(path.name for path in workspace.runs.iterdir())
    app = clean(first.button(key="write_child").click().run())
    (config,) = workspace.configs.glob("*.yaml")
    assert f"Written: configs/tts/{config.name}" in texts(app)
    assert "train-local" in texts(app)
    assert "parent:" in config.read_text()
    assert not [button for button in app.button if button.key == "write_child"], "it is done"

    # Another tab, still showing the button.
    app = clean(second.button(key="write_child").click().run())
    assert list(workspace.configs.glob("*.yaml")) == [config]
    assert "Written" in texts(app)
    after = sorted(path.name for path in workspace.runs.iterdir() if not path.name.startswith((".", "reviews.db")))
    assert after == before, "no run was begun"


def test_lineage_and_dataset(workspace: Workspace):
    make_run(
        workspace, "child", CONSTANT, parent={"run": "demo", "epoch": 6, "move": "train-more", "from_weights": True}
    )
    (tree,) = opened("runs", run="demo", part="Lineage").code
    assert "child" in tree.value
    assert "train-more" in tree.value
    app = opened("runs", run="demo", part="Dataset")
    assert app.metric[0].value == "1"
    assert "dataset.yaml is missing" in texts(app)
    for path in (workspace.datasets / "demo").iterdir():
        path.unlink()
    (workspace.datasets / "demo").rmdir()
    assert "not on this machine" in texts(opened("runs", run="demo", part="Dataset"))


def test_verdicts_are_empty_then_told_and_filtered(workspace: Workspace):
    assert "Nobody has said anything yet" in texts(opened("verdicts"))
    record_verdict(workspace, Verdict("demo", 3, "ann", ("mangled",), note="*no* markup"))
    record_verdict(workspace, Verdict("demo", 6, "bob", ("good",)))
    session = new_session(workspace, "demo", kind="ab", listener="ann", trials=8, epochs=[6])["session"]
    for number in range(1, 9):
        record_answer(workspace, Answer(session, number, "ann", "first"))
    app = opened("verdicts")
    assert len(frame(app, "heard", "note")) == 2
    assert "Sessions under way: 1" in texts(app)
    assert session not in str([table.value.to_csv() for table in app.dataframe]), "an open session is not told"
    app = clean(app.multiselect(key="of_listeners").set_value(["bob"]).run())
    assert [row["listener"] for row in frame(app, "heard", "note")] == ["bob"]
    close_session(workspace, session)
    app = opened("verdicts", of_listeners="ann")
    assert len(frame(app, "trial", "answer")) == 8
    assert [row["listener"] for row in frame(app, "heard", "note")] == ["ann"]
    app = clean(app.multiselect(key="of_heard").set_value(["overshot"]).run())
    assert "None that fits" in texts(app)
