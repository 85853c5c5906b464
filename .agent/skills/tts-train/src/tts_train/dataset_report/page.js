/**
 * The lists of a dataset's page: search, order, reasons, and one player for all clips. Needs dom.js.
 *
 * A row is [id, audio, text, seconds, place, start, mark, why, restorable, [measures…]]; listing.py writes them. Only
 * some rows are in the document at a time: a dataset may have tens of thousands.
 */
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);
const [ID, AUDIO, TEXT, SECONDS, PLACE, START, MARK, WHY, RESTORABLE, VALUES] = Array(10).keys();
const PAGE_OF_ROWS = 25;
const MOST_PLACES = 300; // chapters to choose from; ready-made clips each have a file of their own
const COLLATOR = new Intl.Collator("en", { numeric: true });
const SHAPES = { go: "M3 1.5v13l11-6.5z", stop: "M3 2h4v12H3zM9 2h4v12H9z" };

/** For search: without case and accents. */
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

/** 1:02:03.4 */
function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const [hours, minutes] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60];
  const rest = `${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

function measured([, , unit, digits, scale], value) {
  const number = (value * scale).toFixed(digits).replace("-", "−");
  return unit ? `${number} ${unit}` : number;
}

/** A word as a POSIX shell takes it. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}

function restoring(ids) {
  const ends = ids.some((id) => id.startsWith("-")) ? ["--"] : [];
  return ["./run.sh rejections restore", ...[DATA.dataset, ...ends, ...ids].map(quoted)].join(" ");
}

function playButton(label, onclick) {
  const shape = (name) => {
    const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", SHAPES[name]);
    icon.setAttribute("viewBox", "0 0 16 16");
    icon.setAttribute("class", name);
    icon.setAttribute("aria-hidden", "true");
    icon.append(path);
    return icon;
  };
  const given = { type: "button", class: "play", "aria-label": label, "aria-pressed": "false", onclick };
  return el("button", given, shape("go"), shape("stop"));
}

/** A command with a button that copies it. */
function commandLine(command) {
  const code = el("code", { text: command });
  const copy = el("button", { type: "button", text: "Copy" });
  copy.onclick = async () => {
    try {
      await navigator.clipboard.writeText(command);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // a page without that right: at least it is selected
      copy.textContent = "Selected";
    }
  };
  return el("div", { class: "command" }, code, copy);
}

/** One clip sounds at a time; the bar at the foot of the page says which. */
class Player {
  constructor(root) {
    this.root = root;
    this.sound = new Audio();
    this.sound.preload = "none";
    this.key = null; // of the clip that sounds: rows come and go
    this.play = playButton("Play", () => this.toggle(this.row));
    this.now = el("p", { class: "now", role: "status" });
    this.seek = el("input", { type: "range", min: "0", max: "1", step: "any", value: "0", "aria-label": "Place in the clip" });
    this.time = el("span", { class: "time" });
    this.seek.oninput = () => {
      this.sound.currentTime = Number(this.seek.value);
    };
    root.append(this.play, this.now, this.seek, this.time);
    for (const name of ["play", "pause", "ended", "timeupdate", "durationchange"]) this.sound.addEventListener(name, () => this.#show());
    this.sound.addEventListener("error", () => this.#failed());
  }

  /** Play a row's clip, or stop when it sounds. */
  toggle(row) {
    const sounds = !this.sound.paused;
    if (this.key === row[AUDIO] && sounds) {
      this.sound.pause();
      return;
    }
    if (this.key !== row[AUDIO]) {
      this.row = row;
      this.key = row[AUDIO];
      const inside = this.key.startsWith("#") && document.getElementById(`audio-${this.key.slice(1)}`);
      this.sound.src = inside ? inside.textContent : this.key;
      setText(this.now, `${row[ID]}: ${row[TEXT] || "no text"}`);
    }
    this.root.hidden = false;
    this.sound.play().catch(() => {}); // "error" tells
  }

  #show() {
    const { sound } = this;
    const length = Number.isFinite(sound.duration) ? sound.duration : this.row[SECONDS];
    this.seek.max = String(length);
    this.seek.value = String(sound.currentTime);
    this.seek.setAttribute("aria-valuetext", `${sound.currentTime.toFixed(1)} of ${length.toFixed(1)} seconds`);
    setText(this.time, `${clock(sound.currentTime)} / ${clock(length)}`);
    setPressed(this.play, !sound.paused);
    this.mark();
  }

  /** Show in every list which clip sounds. */
  mark() {
    for (const element of document.querySelectorAll(".clip .play")) {
      setPressed(element, !this.sound.paused && element.dataset.audio === this.key);
    }
  }

  #failed() {
    setText(this.now, `${this.row[ID]} cannot be played: is the page still beside the dataset's clips?`);
  }
}

/** A list of clips with its tools. */
class ClipList {
  /** @param {HTMLElement} root @param {string} name  of the rows in DATA; which tools there are depends on it */
  constructor(root, name, player) {
    Object.assign(this, { root, name, player, rows: DATA[name], shown: PAGE_OF_ROWS, query: "", reason: null, place: "" });
    this.chosen = new Set();
    this.searched = this.rows.map(() => null);
    this.order = { by: "", down: false };
    this.status = el("p", { class: "status", role: "status" });
    this.basket = el("div", { class: "chosen", hidden: true });
    this.list = el("ol", { class: "clips" });
    this.more = el("button", { type: "button", class: "more", text: "Show more", onclick: () => this.#showMore() });
    root.replaceChildren(...(name === "outliers" ? [] : this.#tools()), this.status, this.basket, this.list, this.more);
    this.status.hidden = name === "outliers";
    this.update();
  }

  #tools() {
    const search = el("input", { type: "search", placeholder: "Words, an id, a place", spellcheck: "false" });
    let waiting = 0;
    search.oninput = () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.#changed({ query: plain(search.value.trim()) }), 120);
    };
    const sort = el("select", {});
    for (const [value, label] of this.#orders()) sort.append(el("option", { value, text: label }));
    const turn = el("button", { type: "button", "aria-pressed": "false", text: "Reversed" });
    sort.onchange = () => this.#changed({ order: { ...this.order, by: sort.value } });
    turn.onclick = () => {
      setPressed(turn, !this.order.down);
      this.#changed({ order: { ...this.order, down: !this.order.down } });
    };
    const tools = [el("label", { class: "search", text: "Search" }, search), el("label", { text: "Sort by" }, sort), turn];
    const places = new Set(this.rows.map((row) => row[PLACE]));
    if (this.name === "kept" && places.size > 1 && places.size <= MOST_PLACES) tools.splice(1, 0, this.#placeFilter(places));
    const row = el("div", { class: "tools" }, ...tools);
    return this.name === "rejected" ? [row, this.#reasons()] : [row];
  }

  #orders() {
    const orders = [["", "Place"], ["seconds", "Duration"], ["text", "Text"]];
    if (this.name === "rejected") orders.splice(1, 0, ["mark", "Reason"]);
    DATA.measures.forEach(([, label, unit], index) => {
      if (this.rows.some((row) => row[VALUES][index] !== null)) orders.push([String(index), unit ? `${label}, ${unit}` : label]);
    });
    return orders;
  }

  #placeFilter(used) {
    const select = el("select", {}, el("option", { value: "", text: "Everywhere" }));
    DATA.places.forEach((label, index) => used.has(index) && label && select.append(el("option", { value: String(index), text: label })));
    select.onchange = () => this.#changed({ place: select.value });
    return el("label", { text: "Chapter" }, select);
  }

  #reasons() {
    const counts = new Map();
    for (const row of this.rows) counts.set(row[MARK], (counts.get(row[MARK]) ?? 0) + 1);
    const group = el("fieldset", { class: "reasons" }, el("legend", { text: "Reason" }));
    const choose = (reason) => {
      for (const chip of group.querySelectorAll("button")) setPressed(chip, chip.value === (reason ?? ""));
      setText(this.meaning, DATA.reasons[reason] ?? "");
      this.#changed({ reason });
    };
    const chip = (label, reason) => el("button", { type: "button", value: reason ?? "", "aria-pressed": String(reason === null), text: label, onclick: () => choose(reason) });
    this.meaning = el("p", { class: "meaning" });
    group.append(chip(`all ${this.rows.length.toLocaleString("en")}`, null));
    for (const [reason, count] of [...counts].sort((a, b) => b[1] - a[1] || COLLATOR.compare(a[0], b[0]))) {
      group.append(chip(`${reason} ${count.toLocaleString("en")}`, reason));
    }
    group.append(this.meaning);
    return group;
  }

  #changed(what) {
    Object.assign(this, what, { shown: PAGE_OF_ROWS });
    this.update();
  }

  #showMore() {
    const first = this.shown;
    this.shown += PAGE_OF_ROWS;
    this.update();
    this.list.children[first]?.querySelector("button, summary")?.focus();
  }

  #words(index) {
    const row = this.rows[index];
    this.searched[index] ??= plain(`${row[TEXT]}\n${row[ID]}\n${DATA.places[row[PLACE]]}`);
    return this.searched[index];
  }

  #matching() {
    const { query, reason, place, order } = this;
    const found = [];
    this.rows.forEach((row, index) => {
      if (reason !== null && row[MARK] !== reason) return;
      if (place !== "" && row[PLACE] !== Number(place)) return;
      if (!query || this.#words(index).includes(query)) found.push(row);
    });
    if (order.by) found.sort(this.#comparing(order.by));
    return order.down ? found.reverse() : found;
  }

  /** Rows without the number come last when sorted upwards. */
  #comparing(by) {
    if (by === "seconds") return (a, b) => a[SECONDS] - b[SECONDS];
    if (by === "text") return (a, b) => COLLATOR.compare(a[TEXT], b[TEXT]);
    if (by === "mark") return (a, b) => COLLATOR.compare(a[MARK], b[MARK]);
    const value = (row) => row[VALUES][Number(by)] ?? Infinity;
    return (a, b) => (value(a) === value(b) ? 0 : value(a) - value(b));
  }

  update() {
    const found = this.#matching();
    this.list.replaceChildren(...found.slice(0, this.shown).map((row) => this.#item(row)));
    this.more.hidden = found.length <= this.shown;
    const count = (number) => number.toLocaleString("en");
    const all = found.length === this.rows.length ? "" : ` of ${count(this.rows.length)}`;
    const part = this.more.hidden ? "" : `; the first ${count(this.shown)} are shown`;
    setText(this.status, `${count(found.length)}${all} ${found.length === 1 ? "clip" : "clips"}${part}`);
    this.player.mark();
  }

  #item(row) {
    const play = playButton(row[AUDIO] ? `Play ${row[ID]}` : `${row[ID]} has no audio`, () => this.player.toggle(row));
    play.disabled = !row[AUDIO];
    play.dataset.audio = row[AUDIO];
    const place = [DATA.places[row[PLACE]], row[START] === null ? "" : clock(row[START]), `${row[SECONDS].toFixed(1)} s`, row[AUDIO] ? "" : "no audio"].filter(Boolean);
    const body = el(
      "div",
      {},
      el("p", { class: row[TEXT] ? "said" : "said none", text: row[TEXT] || "no text" }),
      row[WHY] ? el("p", { class: "why", text: row[WHY] }) : null,
      el("p", { class: "place", text: place.join(" · ") }),
    );
    const back = this.name !== "rejected";
    const mark = row[MARK] ? el("span", { class: back ? "mark back" : "mark", text: back ? `taken back: ${row[MARK]}` : row[MARK] }) : null;
    return el("li", { class: "clip" }, play, body, mark, this.#details(row));
  }

  #details(row) {
    const numbers = el("dl", {}, this.#pair("Clip", row[ID]));
    DATA.measures.forEach((measure, index) => {
      if (row[VALUES][index] !== null) numbers.append(this.#pair(measure[1], measured(measure, row[VALUES][index])));
    });
    const details = el("details", {}, el("summary", { text: row[RESTORABLE] ? "Numbers, and take it back" : "Numbers" }), numbers);
    if (row[RESTORABLE]) details.append(commandLine(restoring([row[ID]])), this.#tick(row));
    return details;
  }

  #pair(name, value) {
    return el("div", {}, el("dt", { text: name }), el("dd", { text: value }));
  }

  #tick(row) {
    const box = el("input", { type: "checkbox", checked: this.chosen.has(row[ID]) });
    box.onchange = () => {
      this.chosen[box.checked ? "add" : "delete"](row[ID]);
      this.#showBasket();
    };
    return el("p", { class: "back" }, el("label", {}, box, "Collect it, to take several back with one command"));
  }

  #showBasket() {
    const ids = [...this.chosen];
    this.basket.hidden = !ids.length;
    this.basket.replaceChildren(el("p", { text: `${ids.length} collected` }), commandLine(restoring(ids)));
  }
}

const player = new Player(document.getElementById("player"));
for (const root of document.querySelectorAll("[data-list]")) new ClipList(root, root.dataset.list, player);
