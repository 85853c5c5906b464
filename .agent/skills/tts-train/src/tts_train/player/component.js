/**
 * The player as a Streamlit component (v2). Streamlit calls the default export again at every rerun, with new data and
 * new setters for the same element: what is there goes on sounding.
 */

const MOUNTED = new WeakMap(); // the component's root → {mode, view, setters}
const SETTLED = 350; // ms on one source before Python is told: stepping through ten of them is one rerun
const CHOSEN = 500; // ms after a choice in which the page's list may still take the focus back

function mount(root, mode) {
  const here = { mode, send: {}, timer: 0 };
  if (mode === "trial") {
    here.view = new TrialView(root, { onanswer: (answer) => here.send.trigger("answer", answer) });
    return here;
  }
  const flush = () => {
    clearTimeout(here.timer);
    here.view.tell();
  };
  here.view = new ReviewView(root, {
    onlisten: (news) => here.send.state("listened", news),
    ontags: (tags) => here.send.state("tags", tags),
  });
  here.view.onchange = () => {
    clearTimeout(here.timer);
    here.timer = setTimeout(flush, SETTLED);
  };
  // A verdict is on what is heard when it is saved: tell that before the page's own handlers of the key or click run.
  const onkeydown = (event) => {
    if (isLink(event)) clearTimeout(here.timer);
    else if (event.ctrlKey || event.metaKey) flush();
  };
  const onpointerdown = (event) => {
    if (isLink(event)) clearTimeout(here.timer);
    else if (!event.composedPath().includes(root)) flush();
  };
  document.addEventListener("keydown", onkeydown, true);
  document.addEventListener("pointerdown", onpointerdown, true);
  here.stop = () => {
    clearTimeout(here.timer);
    document.removeEventListener("keydown", onkeydown, true);
    document.removeEventListener("pointerdown", onpointerdown, true);
  };
  return here;
}

/**
 * Keys go to the player again once a list of the page has brought new content: the list keeps the focus after a choice,
 * or takes it back while it closes, and would search itself for the letters.
 */
function leaveList() {
  const leave = () => {
    const list = document.activeElement;
    if (list?.matches("[role=combobox][aria-expanded=false]")) list.blur(); // Tab goes on from there
  };
  leave();
  document.addEventListener("focusin", leave);
  setTimeout(() => {
    leave();
    document.removeEventListener("focusin", leave);
  }, CHOSEN);
}

/** Whether the event may leave the page: a fragment's rerun sent after that empties the next page (Streamlit 1.67). */
function isLink(event) {
  return event.composedPath().some((element) => element.tagName === "A" && element.href);
}

function unmount(root) {
  const here = MOUNTED.get(root);
  MOUNTED.delete(root);
  here?.stop?.();
  here?.view.close();
}

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const root = parentElement.querySelector(".ttp");
  if (MOUNTED.has(root) && MOUNTED.get(root).mode !== data.mode) unmount(root);
  if (!MOUNTED.has(root)) MOUNTED.set(root, mount(root, data.mode));
  const here = MOUNTED.get(root);
  here.send = { state: setStateValue, trigger: setTriggerValue };
  const before = here.view.token;
  here.view.show(data);
  if (before !== undefined && before !== data.token) leaveList();
  if (data.refused) here.view.refuse?.(data.refused);
  // Streamlit also runs the cleanup of a call that the next one has overtaken, while the element stays.
  return () => setTimeout(() => root.isConnected || unmount(root));
}
