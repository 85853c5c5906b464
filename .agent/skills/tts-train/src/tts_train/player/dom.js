/**
 * What the views share: elements, words for numbers, and keys that leave the rest of the page alone. A classic script.
 */
"use strict";

/**
 * An element. Properties of `given`: `class`, `text`, `onclick` and the like, anything else is an attribute;
 * false and null leave it out. Text is never parsed as HTML.
 */
function el(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A button with the key that does the same. */
function button(label, key, onclick, given = {}) {
  const content = [el("span", { class: "label", text: label })];
  if (key) content.unshift(el("kbd", { text: key, "aria-hidden": "true" }));
  return el("button", { type: "button", onclick, "aria-keyshortcuts": key || null, ...given }, ...content);
}

/** Set text and attributes only where they differ: a live region must not repeat itself, layout must not be redone. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setPressed(element, pressed) {
  if (element.getAttribute("aria-pressed") !== String(pressed)) element.setAttribute("aria-pressed", String(pressed));
}

/** "A", "A and B", "X, A and B". */
function listed(names) {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** 128 random bits in hex. crypto.randomUUID does not exist on pages from file:// or plain http. */
function randomToken() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const NOT_TEXT = new Set(["checkbox", "radio", "button", "submit", "reset", "range", "color", "file", "image"]);
const ROLES = ["button", "tab", "option", "radio", "checkbox", "switch", "slider", "combobox", "menuitem", "grid", "gridcell"];
const CONTROLS = `button, a[href], input, summary, canvas, dialog, ${ROLES.map((role) => `[role=${role}]`).join(", ")}`;
const CONTROL_KEYS = new Set([" ", "Enter", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Escape"]);

function isTextField(element) {
  if (element.isContentEditable || element.tagName === "TEXTAREA" || element.tagName === "SELECT") return true;
  return element.tagName === "INPUT" && !NOT_TEXT.has(element.type);
}

let keysGoTo = null; // of several players on a page, the one that was touched last

/**
 * Call `handle(key, event)` for keys that are meant for the player in `root`; it returns whether it knew the key.
 * Keys are the page's own while somebody types, with Ctrl, Alt or Meta, and where another control needs them.
 * @returns {() => void} stop listening
 */
function listenToKeys(root, handle) {
  const claim = () => {
    keysGoTo = root;
  };
  const onkeydown = (event) => {
    if (keysGoTo !== root || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    // Inside a shadow root the event's target is the root's host: the element itself is first in the path.
    const path = event.composedPath();
    const target = path[0];
    const inside = path.includes(root);
    if (!(target instanceof Element) || isTextField(target)) return;
    if (!inside && CONTROL_KEYS.has(event.key) && target.matches(CONTROLS)) return;
    if (event.repeat && !event.key.startsWith("Arrow")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!handle(key, event)) return;
    event.preventDefault();
    event.stopPropagation(); // Streamlit has keys of its own: r runs the page again, c clears its caches
  };
  claim();
  root.addEventListener("pointerdown", claim);
  root.addEventListener("focusin", claim);
  document.addEventListener("keydown", onkeydown, true);
  return () => {
    root.removeEventListener("pointerdown", claim);
    root.removeEventListener("focusin", claim);
    document.removeEventListener("keydown", onkeydown, true);
    if (keysGoTo === root) keysGoTo = null;
  };
}
