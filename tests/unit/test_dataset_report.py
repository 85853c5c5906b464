"""A dataset's report: facts, markdown and the page, from whatever lies in the folder."""

from __future__ import annotations

import json
import random
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finished_run import run_script, workspace_in
from messy_dataset import CARD, EVIL, ODD_NAME, make_dataset
from tts_train.dataset_report import dataset_facts, write_batch_state, write_page
from tts_train.dataset_report import listing as listings
from tts_train.dataset_report.coverage import Coverage, coverage_of, covered_seconds
from tts_train.dataset_report.histograms import BINS, histogram, summary
from tts_train.dataset_report.listing import why
from tts_train.dataset_report.measures import BY_FILTER, BY_NAME
from tts_train.dataset_report.outliers import outliers
from tts_train.dataset_report.reasons import REASONS
from tts_train.dataset_report.rows import Entry
from tts_train.dataset_report.sections import length, share
from tts_train.errors import ConfigError
from tts_train.ingest.screen.options import KINDS, default_filters

RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1])))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "datasets" / "messy")


def data_of(page: Path) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found
    return json.loads(found[1])


def seconds_of(ranges) -> set[int]:
    return {second for start, end in ranges for second in range(start, end)}


def runs(ranges) -> list[tuple[int, int]]:
    """The same seconds as ranges that do not touch."""
    inside = seconds_of(ranges)
    starts = sorted(second for second in inside if second - 1 not in inside)
    ends = sorted(second + 1 for second in inside if second + 1 not in inside)
    return list(zip(starts, ends, strict=True))


class Structure(HTMLParser):
    """Every element with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


@given(RANGES, RANGES)
def test_covered_seconds_are_those_inside_both(spans, taken):
    apart = runs(spans)
    assert covered_seconds(apart, taken) == len(seconds_of(apart) & seconds_of(taken))


@given(RANGES, RANGES, RANGES, RANGES)
def test_every_second_of_speech_is_counted_once(spans, kept, rejected, skipped):
    apart = runs(spans)
    found = coverage_of(apart, kept, rejected, skipped)
    assert found.kept + found.rejected + found.skipped + found.missing == found.speech == len(seconds_of(apart))
    assert min(found.kept, found.rejected, found.skipped) >= 0
    assert found.share <= 1


def test_coverage_of_nothing_is_whole():
    assert Coverage().share == 1.0


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
    st.lists(st.floats(-1e6, 1e6), max_size=20),
    st.lists(st.floats(-1e6, 1e6), max_size=2),
    st.sampled_from([0.0, 0.5]),
)
def test_a_histogram_holds_every_value_once(kept, rejected, limits, width):
    bins = histogram(kept, rejected, limits, width)
    assert (sum(bins.kept), sum(bins.rejected)) == (len(kept), len(rejected))
    assert len(bins.edges) - 1 == len(bins.kept) <= 2 * BINS + 2
    assert list(bins.edges) == sorted(bins.edges)


def test_values_on_an_edge_begin_the_next_bin():
    bins = histogram([number / 10 for number in range(11)], [], (), 0.1)
    held = dict(zip(bins.edges, bins.kept, strict=False))
    assert [held[edge] for edge in (0.0, 0.3, 0.6, 1.0)] == [1, 1, 1, 1]


def test_one_odd_clip_does_not_flatten_the_others():
    chance = random.Random(3)
    values = [chance.gauss(-24, 1) for _ in range(100)]
    bins = histogram([*values, -70.0], [])
    assert bins.edges[0] > -40
    assert bins.beyond == (True, False)
    assert sum(bins.kept) == 101


def test_alike_clips_are_one_bar_among_empty_ones():
    bins = histogram([12_000.0] * 9, [], (), 125.0)
    assert sorted(bins.kept)[-2:] == [0, 9]
    assert bins.kept[len(bins.kept) // 2] == 9
    assert summary([])["median"] is None


def entry(name: str, **measures: float) -> Entry:
    return Entry(name, "text", f"clips/{name}.flac", "b", "", "ann", 0.0, 3.0, 3.0, measures)


def test_outliers_are_ranked_by_their_most_telling_measure():
    chance = random.Random(1)
    usual = [
        entry(f"c{n}", loudness_lufs=chance.gauss(-24, 0.5), snr_db=chance.gauss(40, 1), mos=4.2) for n in range(40)
    ]
    odd = [
        entry("quiet", loudness_lufs=-40.0, snr_db=28.0, mos=4.2),
        entry("noisy", loudness_lufs=-24.0, snr_db=2.0, mos=4.2),
        entry("clean", loudness_lufs=-24.0, snr_db=90.0, mos=4.9),
    ]
    found = outliers([*usual, *odd], 10)
    assert [(item.entry.id, item.measure.name) for item in found] == [("noisy", "snr_db"), ("quiet", "loudness_lufs")]
    assert outliers([*usual, *odd], 1)[0].entry.id == "noisy"
    assert outliers(odd, 10) == [], "among three, nobody is unlike the others"


def test_numbers_are_shown_as_people_write_them():
    assert BY_NAME["loudness_lufs"].shown(-23.44) == "−23.4 LUFS"
    assert BY_NAME["log_probability"].shown(-0.001) == "0.00"
    assert BY_NAME["wer"].shown(0.061) == "6 %"
    assert [length(seconds) for seconds in (1.35, 59.6, 198.0, 43_500.0)] == [
        "1.4 s",
        "1 min 0 s",
        "3 min 18 s",
        "12 h 5 min",
    ]
    assert (share(0.99999), share(1.0), share(0.5)) == ("99.99 %", "100 %", "50 %")


def test_every_filter_is_known_by_its_name_and_its_reasons_are_told():
    kinds = {kind.name: kind for kind in KINDS}
    assert {name: kind.key for name, kind in kinds.items()} == {name: BY_FILTER[name].name for name in kinds}
    for item in default_filters("book", 1.5, 15.0, wer=True):
        refused = [kinds[item.name].low] * (item.low is not None) + [kinds[item.name].high] * (item.high is not None)
        assert set(refused) <= set(REASONS)


def test_facts_of_a_messy_dataset(folder: Path):
    facts = dataset_facts(folder)
    assert facts["clips"] == 50
    assert facts["rejected"] == {
        "too-short": 3,
        "noisy": 3,
        "other-speaker": 2,
        "clipped": 2,
        **dict.fromkeys(("bad-line", "unreadable-audio", "outside-folder", "unknown"), 1),
    }
    assert facts["unaligned"] == {"failed": 1}
    assert facts["restored"] == 1
    coverage = facts["coverage"]
    assert (coverage["missing_seconds"], coverage["skipped_seconds"]) == (2.0, 4.0)
    assert coverage["share"] == pytest.approx(1 - 2 / coverage["speech_seconds"])
    assert facts["gaps"] == [{"source": "book.m4b", "start": 1200.0, "end": 1202.0}]
    assert facts["measures"]["snr_db"]["limits"] == [15.0, None]
    assert facts["measures"]["mos"]["kept"]["clips"] == 49, "text is no number"
    assert facts["outliers"][0]["id"] == "book-c00004"
    json.dumps(facts, allow_nan=False)


def test_chapters_of_one_title_are_told_apart(folder: Path):
    rows = [row for row in dataset_facts(folder)["chapter_table"] if row["coverage"]]
    assert [row["chapter"] for row in rows] == ["One", f"Two {EVIL}", "One"]
    assert [row["clips"] + row["rejected"] for row in rows] == [20, 20, 20]
    assert [row["coverage"]["missing_seconds"] for row in rows] == [0.0, 0.0, 2.0]


def test_ready_made_clips_have_no_coverage(folder: Path):
    shutil.rmtree(folder / "parts")
    facts = dataset_facts(folder)
    assert facts["coverage"] is None
    assert [row["chapter"] for row in facts["chapter_table"] if row["chapter"]] == ["One", f"Two {EVIL}"]
    write_page(folder)


def test_a_damaged_manifest_is_named(folder: Path):
    (folder / "train_manifest.jsonl").write_text("{\n")
    with pytest.raises(ConfigError, match="bad lines"):
        write_page(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("id", "audio_file", "text", "source", "chapter", "speaker", "start", "end", "audio_seconds", "reason")
ROWS = st.lists(st.dictionaries(st.sampled_from((*FIELDS, "measures", "numbers")), JSON, max_size=8), max_size=4)


@settings(max_examples=60, deadline=None)
@given(kept=ROWS, rejected=ROWS)
def test_no_row_is_too_odd_for_a_report(tmp_path_factory, kept, rejected):
    folder = tmp_path_factory.mktemp("odd")
    for name, rows in (("train_manifest.jsonl", kept), ("rejections.jsonl", rejected)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert dataset_facts(folder)["clips"] == len(kept)
    page = write_page(folder)
    assert len(data_of(page)["kept"]) == len(kept)


def test_the_same_files_give_the_same_page(folder: Path, tmp_path: Path):
    first = write_page(folder)
    assert first == folder / "report.html"
    elsewhere = tmp_path / "other" / "datasets" / "messy"
    shutil.copytree(folder, elsewhere)
    write_page(elsewhere)
    assert first.read_bytes() == (elsewhere / "report.html").read_bytes()


def test_nothing_that_people_wrote_becomes_part_of_the_page(folder: Path):
    text = write_page(folder).read_text()
    elements = Structure(text).elements
    assert {tag for tag, _ in elements} & {"img", "a:link", "iframe", "object", "link", "base", "form"} == set()
    scripts = [attributes for tag, attributes in elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on") or name == "style"]
    assert "</script><script>window.pwned" not in text
    assert data_of(folder / "report.html")["kept"][1][2] == EVIL


def test_the_policy_names_the_pages_own_style_and_script(folder: Path):
    page = write_page(folder).read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)


def test_clips_are_found_from_where_the_page_lies(folder: Path, tmp_path: Path):
    rows = {row[0]: row for row in data_of(write_page(folder))["kept"]}
    assert rows["odd"][1] == "clips/50%25%20of%20%231%3F%20%C3%A9.wav"
    assert (folder / "clips" / ODD_NAME).is_file()
    away = write_page(folder, output=tmp_path / "pages" / "x.html")
    assert {row[0]: row for row in data_of(away)["kept"]}["odd"][1].startswith("../datasets/messy/clips/50%25")


def test_only_what_lies_in_the_dataset_is_linked_or_embedded(folder: Path, tmp_path: Path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"secret")
    (folder / "clips" / "gone").symlink_to(secret)
    (folder / "aside").symlink_to(tmp_path)
    named = ["clips/gone", "aside/secret.wav", "../../secret.wav", str(secret), "clips", "", "clips/\0", "no/such.wav"]
    rows = [{"id": f"r{n}", "reason": "x", "text": "t", "audio_file": name} for n, name in enumerate(named)]
    (folder / "rejections.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = write_page(folder, output=tmp_path / "page.html", embed=True)
    assert [row[1] for row in data_of(page)["rejected"]] == [""] * len(named)
    assert "c2VjcmV0" not in page.read_text()


def test_why_a_clip_was_refused_stands_beside_it(folder: Path):
    data = data_of(write_page(folder))
    told = {row[6]: row[7] for row in data["rejected"]}
    assert told["noisy"] == "Signal to noise 8.2 dB, at least 15.0 dB is asked for"
    assert told["bad-line"].startswith("line 3; not JSON: </script>")
    assert told["failed"] == "stays in the manifest, without word times"
    back = {row[6]: row[8] for row in data["rejected"]}
    assert [back[name] for name in ("noisy", "bad-line", "failed", "unreadable-audio", "unknown")] == [1, 0, 0, 0, 0]
    assert "deviations below the median" in data["outliers"][0][7]
    assert [row[6] for row in data["kept"] if row[6]] == ["clipped"], "the one that was taken back"


def test_a_number_that_just_fails_is_told_exactly():
    def told(value, **limits):
        numbers = {"value": value, **limits}
        return why(Entry("a", "", "", "", "", "", 0.0, 1.0, 1.0, numbers, {"filter": "duration"}, "too-short"))

    assert told(0.9967, min=1.0) == "Duration 0.997 s, at least 1.0 s is asked for"
    assert told(0.5, min=1.0) == "Duration 0.5 s, at least 1.0 s is asked for"
    assert told(15.31, min=1.0, max=15.0) == "Duration 15.3 s, at most 15.0 s is allowed"
    assert told(3.0) == "Duration 3.0 s"


def test_ready_made_clips_have_no_place_in_time(folder: Path):
    assert data_of(write_page(folder))["kept"][0][5] == 20.0
    (folder / "parts/speech-00000.json").unlink()
    rows = [{"id": "a", "text": "t", "audio_file": "clips/a.flac", "source": "a.wav", "start": 0.0, "end": 2.0}]
    (folder / "train_manifest.jsonl").write_text(json.dumps(rows[0]) + "\n")
    assert data_of(write_page(folder))["kept"][0][5] is None


def test_a_page_with_its_audio_says_how_much_is_inside(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = write_page(folder, output=tmp_path / "whole.html", embed=True)
    assert "The audio of 60 of 60 clips is inside this page.<" in whole.read_text()
    assert {row[1][0] for row in data_of(whole)["kept"]} == {"#"}
    monkeypatch.setattr(listings, "EMBED_BYTES", 700_000)
    page = write_page(folder, output=tmp_path / "part.html", embed=True)
    count = page.read_text().count("data:audio/wav;base64,")
    assert 10 < count < 20
    assert f"The audio of {count} of 60 clips is inside this page; the others play only beside" in page.read_text()
    inside = [row[1] for row in data_of(page)["rejected"] if row[1]]
    assert all(address.startswith("#") for address in inside), "rejected clips come first"


def test_a_large_dataset_makes_no_large_page(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listings, "ROW_BYTES", 5_000)
    page = write_page(folder)
    data = data_of(page)
    assert 0 < len(data["rejected"]) < 15
    assert 0 < len(data["kept"]) < 50
    assert sum(len(json.dumps(row)) for row in [*data["rejected"], *data["kept"]]) < 5_000
    assert f"Only the first {len(data['kept'])} of 50 clips are listed here; train_manifest.jsonl" in page.read_text()
    assert f"Only the first {len(data['rejected'])} of 15 clips are listed here; rejections" in page.read_text()


def test_a_dataset_without_anything_has_a_page(tmp_path: Path):
    (tmp_path / "train_manifest.jsonl").touch()
    text = write_page(tmp_path).read_text()
    assert "No clip was kept." in text
    assert "Nothing was rejected." in text
    assert "dataset.yaml is missing" in text


def test_the_batch_state_counts_an_unaligned_clip_once(folder: Path):
    state = json.loads(write_batch_state(folder).read_text())
    assert (state["total"], state["successful"], state["failed"]) == (64, 50, 14)


def test_the_command_writes_what_was_asked_for(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    folder = make_dataset(workspace.datasets / "messy", 20)
    asked = [tmp_path / name for name in ("r.md", "r.html", "r.json")]
    options = [word for path in asked for word in ("--output", path)]
    result = run_script("report", "datasets/messy", *options, "--embed", "--workspace", workspace.root)
    assert result["outputs"] == [str(path) for path in asked]
    assert result["page"] == str(folder / "report.html")
    text = asked[0].read_text()
    assert text == result["text"]
    assert "| noisy " in text
    assert "- coverage: 9" in text
    assert "## Worth a listen" in text
    assert json.loads(asked[2].read_text())["clips"] == result["clips"]
    assert "data:audio/wav" in asked[1].read_text()
    assert "data:audio/wav" not in (folder / "report.html").read_text()


def test_a_card_alone_is_reported_without_a_page(tmp_path: Path):
    workspace = workspace_in(tmp_path)
    (workspace.datasets / "planned").mkdir()
    (workspace.datasets / "planned/dataset.yaml").write_text(CARD)
    result = run_script("report", "datasets/planned", "--workspace", workspace.root)
    assert (result["clips"], result["page"]) == (0, None)
    assert not (workspace.datasets / "planned/report.html").exists()


@pytest.mark.parametrize("words", [("--output", "r.pdf"), ("--embed",)])
def test_what_cannot_be_written_is_refused(tmp_path: Path, words):
    workspace = workspace_in(tmp_path)
    make_dataset(workspace.datasets / "messy", 20, audio=False)
    error = run_script("report", "datasets/messy", *words, "--workspace", workspace.root, code=2)
    assert error["kind"] == "usage"
    assert not (workspace.datasets / "messy/report.html").exists()
