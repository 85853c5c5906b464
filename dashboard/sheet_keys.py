"""Shift and a digit tick a box: what a listener hears is then two keys away from being saved."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import streamlit as st

_SCRIPT = """
const LISTENERS = new WeakMap();
export default function ({ data, parentElement }) {
  const onkeydown = (event) => {
    const digit = /^Digit([1-9])$/.exec(event.code)?.[1];
    if (!digit || !event.shiftKey || event.ctrlKey || event.altKey || event.metaKey) return;
    const typing = event.composedPath()[0].closest?.("input:not([type=checkbox], [type=radio]), textarea, select");
    const boxes = document.querySelectorAll(`.st-key-${data.group} input[type=checkbox]`);
    if (typing || document.querySelector("dialog[open], [role=dialog]") || !boxes[digit - 1]) return;
    event.preventDefault();
    boxes[digit - 1].click();
  };
  document.removeEventListener("keydown", LISTENERS.get(parentElement));
  document.addEventListener("keydown", onkeydown);
  LISTENERS.set(parentElement, onkeydown);
  return () => document.removeEventListener("keydown", onkeydown);
}
"""


def sheet_keys(group: str, *, key: str) -> None:
    """Let Shift+1, Shift+2, … tick the checkboxes of the container whose key is `group`, in their order."""
    _component()(key=key, data={"group": group}, height=0)


@cache
def _component() -> Callable[..., Any]:
    """Registered once per process: Streamlit warns of a second registration under one name."""
    return st.components.v2.component("tts_train_sheet_keys", html="<span></span>", js=_SCRIPT)
