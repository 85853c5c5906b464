"""Charts: colours that can be seen on either ground, and a second sign beside every colour."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from views import charts
from views.runs import Curves
from views.vowels import BASE, SPEAKER, Plot


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [charts.LIGHT, charts.DARK])
def test_colours_stand_out_from_their_ground(colours: charts.Palette):
    for colour in (colours.base, colours.speaker, *colours.epochs):
        assert contrast(colour, colours.ground) >= 3.0, colour
    assert contrast(colours.text, colours.ground) >= 4.5


@pytest.mark.parametrize(("scheme", "colours"), [("light", charts.LIGHT), ("dark", charts.DARK)])
def test_grounds_are_those_of_the_theme(scheme: str, colours: charts.Palette):
    config = Path(__file__).parents[2] / "dashboard/.streamlit/config.toml"
    theme = tomllib.loads(config.read_text())["theme"][scheme]
    assert (theme["backgroundColor"], theme["textColor"]) == (colours.ground, colours.text)


def plot(*epochs: str) -> Plot:
    sources = (BASE, *epochs, SPEAKER)
    rows = tuple({"source": name, "set": "FOOT", "F1": 1.0, "F2": k, "words": 3} for k, name in enumerate(sources))
    return Plot(sources, ("FOOT",), rows, (), (), (), ())


def scales(layer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: layer["encoding"][name]["scale"] for name in ("color", "shape")}


def test_every_speaker_has_a_colour_and_a_shape_of_its_own():
    drawn = plot(*(f"epoch {k}" for k in range(1, charts.MOST_EPOCHS + 1)))
    layers = charts.vowels(drawn, "z", charts.LIGHT).to_dict()["layer"]
    found = scales(next(layer for layer in layers if "shape" in layer["encoding"]))
    for name in ("color", "shape"):
        assert found[name]["domain"] == list(drawn.sources)
        assert len(set(found[name]["range"])) == len(drawn.sources), name


def test_a_speaker_keeps_its_look_whoever_else_is_shown():
    few = scales(charts.vowels(plot("epoch 1"), "z", charts.LIGHT).to_dict()["layer"][3])
    many = scales(charts.vowels(plot("epoch 1", "epoch 2"), "z", charts.LIGHT).to_dict()["layer"][3])
    for name in ("color", "shape"):
        one, other = (dict(zip(s[name]["domain"], s[name]["range"], strict=True)) for s in (few, many))
        assert one.items() <= other.items()


def test_axes_run_as_phoneticians_draw_them():
    for layer in charts.vowels(plot(), "hz", charts.DARK).to_dict()["layer"]:
        assert layer["encoding"]["x"]["field"] == "F2"
        assert layer["encoding"]["y"]["field"] == "F1"
        assert layer["encoding"]["x"]["scale"]["reverse"] is True
        assert layer["encoding"]["y"]["scale"]["reverse"] is True


def test_an_endless_interval_does_not_flatten_the_rest():
    rows = [{"contrast": "foot-strut", "epoch": 1, "t": 0.5, "low": -400.0, "high": 900.0}]
    layers = charts.progress(rows, charts.LIGHT).to_dict()["layer"]
    low, high = layers[1]["encoding"]["y"]["scale"]["domain"]
    assert low >= -2.0
    assert high <= 3.0
    assert low < 0.0
    assert high > 1.0


def test_a_run_without_steps_can_be_drawn():
    assert charts.loss(Curves(), charts.LIGHT).to_dict()["layer"]
    assert charts.over_steps((), "lr", charts.LIGHT, dots=True).to_dict()["mark"]
