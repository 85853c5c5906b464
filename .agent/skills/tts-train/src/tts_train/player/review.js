/**
 * The review view: all sources of one text side by side. A classic script; needs deck.js.
 *
 * @typedef {Object} Review
 * @property {string} token      another token is other content; the same one is left alone
 * @property {Source[]} sources  with `label`, `reference`, `key` and `pictures` {waveform, mel, span?}: addresses of images whose time
 *                               is linear over their whole width
 * @property {TranscriptWord[]} transcript
 * @property {boolean} blind     sources are A, B, … and X, without pictures, whatever their labels are
 * @property {Tags} [tags]       what was tagged before
 * @property {string} [current]  the id of the source to begin with
 */
"use strict";

class ReviewView {
  #told = null;

  /**
   * @param {HTMLElement} root
   * @param {{onlisten?: (told: {current: string, heard: Object}) => void, ontags?: (tags: Tags) => void}} events
   *   onlisten: the source that is heard, and per source id {seconds, whole, plays}
   */
  constructor(root, { onlisten, ontags }) {
    this.root = root;
    this.player = new Player();
    Object.assign(this, { onlisten, ontags });
    this.buttons = el("div", { class: "row sources", role: "group", "aria-label": "Clips" });
    this.deck = new Deck(root, this.player, {
      above: [this.buttons],
      below: [],
      keys: [
        ["0 to 9", "a clip by its number"],
        ["r", "the reference"],
      ],
      onkey: (key) => this.#key(key),
      label: (index) => this.names[index],
      onpaint: () => this.#paint(),
      ontags,
    });
    root.player = this.player;
  }

  /** @param {Review} data */
  show(data) {
    if (this.token === data.token) return;
    Object.assign(this, { token: data.token, names: sourceNames(data), keys: sourceKeys(data) });
    const sources = data.blind ? data.sources.map(({ pictures, label, key, ...source }) => source) : data.sources;
    const first = Math.max(0, data.sources.findIndex((source) => source.id === data.current));
    this.player.open(sources, first);
    this.#told = null;
    this.buttons.replaceChildren(
      ...data.sources.map((source, k) => button(this.names[k], this.keys[k], () => this.deck.select(k), { "aria-pressed": "false" })),
    );
    this.deck.show({ ...data, tagging: Boolean(this.ontags) });
    this.player.select(first);
  }

  /** What was heard until now, per source id. */
  heard() {
    const heard = {};
    this.player.sources.forEach((source, k) => {
      const { seconds, whole, plays } = this.player.heard(k);
      if (plays) heard[source.id] = { seconds: Math.round(seconds * 100) / 100, whole, plays };
    });
    return heard;
  }

  /** Tell `onlisten` now, if there is anything new. */
  tell() {
    const { player } = this;
    if (!this.onlisten || !player.sources.length) return;
    const news = { current: player.sources[player.current].id, heard: this.heard() };
    const text = JSON.stringify(news);
    if (text === this.#told) return;
    this.#told = text;
    this.onlisten(news);
  }

  close() {
    this.deck.close();
    return this.player.close();
  }

  #paint() {
    const { player } = this;
    [...this.buttons.children].forEach((source, k) => {
      setPressed(source, k === player.current);
      source.setAttribute("aria-busy", String(k === player.pending));
    });
    const source = player.sources[player.current];
    Object.assign(this.root.dataset, { source: source.id, state: player.playing ? "playing" : "silent" });
    if (source.buffer) this.root.dataset.ready = this.token;
    this.onchange?.();
  }

  #key(key) {
    const index = this.keys.indexOf(key);
    if (index >= 0) this.deck.select(index);
    return index >= 0;
  }
}

/** Blind, a name tells the place in the row and nothing else. */
function sourceNames({ sources, blind }) {
  let letter = 0;
  return sources.map((source) => {
    if (!blind) return source.label;
    return source.reference ? "X" : String.fromCharCode(65 + letter++);
  });
}

/** r for the reference; for the rest their own keys, else the digits from 1 to 9 in order, as always when blind. */
function sourceKeys({ sources, blind }) {
  const named = !blind && sources.some((source) => source.key);
  let digit = 0;
  return sources.map((source) => {
    if (source.reference) return "r";
    if (named) return source.key;
    return ++digit <= 9 ? String(digit) : null;
  });
}
