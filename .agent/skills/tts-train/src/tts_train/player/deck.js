/**
 * The part that every view has: pictures or a bar with a playhead, play and loop, the text word by word, a spoken
 * status, and the keys for them. A classic script; needs core.js and dom.js.
 *
 * @typedef {{text: string, marker?: string}} TranscriptWord  as it is written; `marker` names what to listen for
 * @typedef {{[source: string]: {[word: number]: "mangled"|"dropped"|"stretched"}}} Tags
 */
"use strict";

const TAGS = { m: "mangled", d: "dropped", s: "stretched" };
const JUMP = 2; // s that an arrow key moves where there are no words

const KEYS = [
  ["Space", "play, pause"],
  ["Home", "back to the start"],
  ["[ and ]", "previous and next clip, at the same word"],
  ["← and →", "loop the previous and the next word"],
  ["Esc", "leave the loop"],
  ["y", "keep the word or keep the seconds when switching"],
  ["m, d, s", "mark the chosen word as mangled, dropped or stretched; again to take it back", "tag"],
  ["?", "these keys"],
];

class Deck {
  #frame = 0;
  #words = []; // the buttons of the text
  #chosen = null; // the word that was looped or clicked last
  #pictured = null; // the source whose pictures are shown
  #stopKeys;

  /**
   * @param {HTMLElement} root  emptied and filled
   * @param {Player} player
   * @param {Object} view
   * @param {HTMLElement[]} view.above  what the view shows above the deck, and
   * @param {HTMLElement[]} view.below  below it
   * @param {[string, string][]} view.keys  its own keys, for the help
   * @param {(key: string, event: KeyboardEvent) => boolean} view.onkey  asked before the deck's own keys
   * @param {(index: number) => string} view.label  a source's name
   * @param {() => void} view.onpaint  after anything has changed
   * @param {() => void} [view.ontick]  at every frame while something plays
   * @param {(tags: Tags) => void} [view.ontags]  after a word was tagged
   */
  constructor(root, player, view) {
    Object.assign(this, { root, player, view, tags: {} });
    this.#build();
    this.onchange = () => this.paint();
    this.onerror = ({ detail }) => this.say(`This clip cannot be played: ${detail.error.message}.`);
    player.addEventListener("change", this.onchange);
    player.addEventListener("error", this.onerror);
    this.#stopKeys = listenToKeys(root, (key, event) => this.#key(key, event));
  }

  /** @param {{transcript: TranscriptWord[], tagging: boolean, tags?: Tags}} content */
  show({ transcript, tagging, tags = {} }) {
    this.tags = structuredClone(tags);
    this.tagging = tagging;
    this.root.classList.toggle("untagged", !tagging);
    this.#chosen = null;
    this.#pictured = null;
    const timed = this.player.sources.some((source) => source.words.length === transcript.length);
    this.#words = transcript.map((word, k) => this.#word(word, k, timed));
    this.text.replaceChildren(...this.#words.flatMap((word) => [word, " "]));
    this.text.hidden = transcript.length === 0;
    this.strip.classList.toggle("bare", !this.player.sources.some((source) => source.pictures));
    this.markers = transcript.map((word) => word.marker);
    this.paint();
  }

  /** Switch, and tell who cannot see it. */
  select(index) {
    if (index < 0 || index >= this.player.sources.length) return;
    this.player.select(index);
    this.say(this.view.label(index));
  }

  say(text) {
    setText(this.status, text);
  }

  paint() {
    const { player } = this;
    const source = player.sources[player.current];
    if (!source) return;
    if (player.loop !== null) this.#chosen = player.loop;
    setText(this.playButton.querySelector(".label"), player.playing ? "Pause" : "Play");
    setPressed(this.loopButton, player.loop !== null);
    setPressed(this.syncButton, player.sync === "word");
    this.#paintWords(this.tags[source.id] ?? {});
    this.#paintPictures(source);
    this.#paintTime();
    this.view.onpaint();
    if (player.playing && !this.#frame) this.#tick();
  }

  close() {
    this.#stopKeys();
    cancelAnimationFrame(this.#frame);
    this.player.removeEventListener("change", this.onchange);
    this.player.removeEventListener("error", this.onerror);
    this.root.replaceChildren();
  }

  #build() {
    const { player, view } = this;
    this.waveform = el("img", { class: "waveform", alt: "", draggable: "false" });
    this.mel = el("img", { class: "mel", alt: "", draggable: "false" });
    this.playhead = el("div", { class: "playhead" });
    this.strip = el("div", { class: "strip", onclick: (event) => this.#seek(event) }, this.waveform, this.mel, this.playhead);
    this.playButton = button("Play", "Space", () => player.toggle(), { class: "play" });
    this.loopButton = button("Loop word", "← →", () => this.#toggleLoop(), { "aria-pressed": "false" });
    this.syncButton = button("Keep the word", "y", () => this.#toggleSync(), { "aria-pressed": "true" });
    const tagButtons = Object.entries(TAGS).map(([key, kind]) =>
      button(kind[0].toUpperCase() + kind.slice(1), key, () => this.#tag(kind), { class: `tag ${kind}` }),
    );
    this.time = el("span", { class: "time" });
    const help = button("Keys", "?", () => this.help.showModal(), { class: "quiet" });
    this.bar = el("div", { class: "row bar" }, this.playButton, this.loopButton, this.syncButton);
    this.bar.append(...tagButtons, el("span", { class: "row end" }, help, this.time));
    this.text = el("div", { class: "text", role: "group", "aria-label": "Text" });
    this.status = el("p", { class: "status", role: "status", "aria-live": "polite" });
    this.help = this.#helpDialog();
    this.root.replaceChildren(...view.above, this.strip, this.bar, this.text, ...view.below, this.status, this.help);
  }

  #helpDialog() {
    const rows = [...this.view.keys, ...KEYS].map(([key, does, kind = null]) =>
      el("tr", { class: kind }, el("th", { scope: "row" }, el("kbd", { text: key })), el("td", { text: does })),
    );
    // Single letters as shortcuts must be possible to turn off (WCAG 2.1.4): speech input would trigger them.
    this.shortcuts = el("input", { type: "checkbox", checked: true });
    return el(
      "dialog",
      { "aria-label": "Keys" },
      el("table", {}, el("tbody", {}, ...rows)),
      el("label", {}, this.shortcuts, " Use these keys"),
      el("form", { method: "dialog" }, el("button", { text: "Close" })),
    );
  }

  #word({ text, marker }, k, timed) {
    const content = [el("span", { class: "spoken", text }), el("span", { class: "marker", text: marker ?? "" })];
    const name = marker ? "word marked" : "word";
    if (!timed) return el("span", { class: name }, ...content);
    const onclick = () => (this.player.loop === k ? this.player.unloop() : this.#loop(k));
    return el("button", { type: "button", class: name, onclick, tabindex: k ? "-1" : "0" }, ...content);
  }

  #paintWords(tags) {
    const { loop } = this.player;
    const chosen = this.#chosen ?? 0;
    this.#words.forEach((word, k) => {
      const tag = tags[k];
      for (const kind of Object.values(TAGS)) word.classList.toggle(kind, tag === kind);
      word.classList.toggle("chosen", k === this.#chosen);
      if (word.tagName !== "BUTTON") return;
      setPressed(word, k === loop);
      word.tabIndex = k === chosen ? 0 : -1; // one stop for Tab, arrows from there
      const name = [word.firstChild.textContent, this.markers[k], tag].filter(Boolean).join(", ");
      if (word.getAttribute("aria-label") !== name) word.setAttribute("aria-label", name);
    });
  }

  #paintPictures(source) {
    if (this.#pictured === source) return;
    this.#pictured = source;
    for (const kind of ["waveform", "mel"]) {
      const address = source.pictures?.[kind];
      this[kind].style.visibility = address ? "visible" : "hidden";
      if (address) this[kind].src = address;
    }
    if (source.pictures) {
      this.strip.setAttribute("role", "img");
      this.strip.setAttribute("aria-label", `Waveform and mel spectrogram: ${this.view.label(this.player.current)}`);
    }
  }

  /** Pictures may begin before the clip and end after it: they are of the render, the clip is its trimmed copy. */
  #placePictures({ duration, pictures }) {
    const [start, end] = pictures?.span ?? [0, duration];
    const [left, width] = duration ? [(100 * start) / duration, (100 * (end - start)) / duration] : [0, 100];
    for (const image of [this.waveform, this.mel]) Object.assign(image.style, { marginLeft: `${left}%`, width: `${width}%` });
  }

  #paintTime() {
    const { player } = this;
    const { duration, words } = player.sources[player.current];
    this.#placePictures(player.sources[player.current]);
    const position = player.audiblePosition();
    this.playhead.style.left = duration ? `${(100 * position) / duration}%` : "0";
    setText(this.time, `${position.toFixed(1)} / ${duration === null ? "–" : duration.toFixed(1)} s`);
    const now = player.playing && player.loop === null ? wordAt(words, position) : -1;
    this.#words.forEach((word, k) => word.classList.toggle("now", k === now));
  }

  #tick() {
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (!this.player.sources.length) return;
      this.#paintTime();
      this.view.ontick?.();
      if (this.player.playing) this.#tick();
    });
  }

  #seek(event) {
    const { left, width } = this.strip.getBoundingClientRect();
    const { duration } = this.player.sources[this.player.current];
    if (duration) this.player.seek(((event.clientX - left) / width) * duration);
  }

  #toggleLoop() {
    if (this.player.loop !== null) this.player.unloop();
    else this.#step(0);
  }

  #toggleSync() {
    this.player.sync = this.player.sync === "word" ? "time" : "word";
    this.say(this.player.sync === "word" ? "Switching keeps the word." : "Switching keeps the seconds.");
    this.paint();
  }

  async #loop(k) {
    this.#chosen = k;
    await this.player.loopWord(k);
    if (this.player.loop === k) this.say(`Looping “${this.#spoken(k)}”.`);
    else this.say("It is not known when this word is spoken in this clip.");
    if (this.#words.includes(this.root.getRootNode().activeElement)) this.#words[k].focus();
  }

  /** A word without the punctuation behind it. */
  #spoken(k) {
    return this.#words[k].firstChild.textContent.replace(/[\p{P}\s]+$/u, "");
  }

  /** Loop the word beside the looped one, or the word that is heard now. */
  #step(by) {
    const { player } = this;
    const { words } = player.sources[player.current];
    if (!this.#words.length || words.length !== this.#words.length) {
      if (by) player.seek(player.position() + by * JUMP);
      return;
    }
    const from = player.loop === null ? wordAt(words, player.audiblePosition()) : player.loop + by;
    this.#loop(Math.max(0, Math.min(words.length - 1, from)));
  }

  #tag(kind) {
    const { player } = this;
    if (this.#chosen === null) {
      this.say("Choose a word first: click it, or press an arrow key.");
      return;
    }
    const { id } = player.sources[player.attended];
    const tags = { ...this.tags[id] };
    const again = tags[this.#chosen] === kind;
    if (again) delete tags[this.#chosen];
    else tags[this.#chosen] = kind;
    this.tags = { ...this.tags, [id]: tags };
    this.say(`“${this.#spoken(this.#chosen)}”: ${again ? "mark taken back" : kind}.`);
    this.paint();
    this.view.ontags?.(this.tags);
  }

  #key(key, event) {
    if (this.help.open) return false;
    if (key === "?") {
      this.help.showModal();
      return true;
    }
    if (!this.shortcuts.checked) return false;
    if (this.view.onkey(key, event)) return true;
    const { player } = this;
    const at = player.pending ?? player.current;
    if (key === " ") player.toggle();
    else if (key === "Home") player.seek(0);
    else if (key === "[") this.select(at - 1);
    else if (key === "]") this.select(at + 1);
    else if (key === "ArrowLeft") this.#step(-1);
    else if (key === "ArrowRight") this.#step(1);
    else if (key === "Escape" && player.loop !== null) player.unloop();
    else if (key === "y") this.#toggleSync();
    else if (key in TAGS && this.tagging) this.#tag(TAGS[key]);
    else return false;
    return true;
  }
}
