/**
 * One blind trial: listen to A, B and X, answer, confirm. A classic script; needs deck.js and questions.js.
 *
 * @typedef {Object} Trial
 * @property {string} token     opaque; comes back with the answer
 * @property {"abx"|"ab"|"xab"|"sheet"} kind  which of the two is X; which is better; which is nearer to X; one clip
 * @property {string} question
 * @property {{first: Source, second?: Source, x?: Source}} sides
 * @property {TranscriptWord[]} [transcript]
 * @property {{[answer: string]: string}} [answers]  labels of first, second and same; left out, the kind's own
 * @property {Question[]} [questions]  of a sheet
 * @property {boolean} [note]   whether there is a field for notes
 * @property {boolean} [gate]   false: answers are open before everything was heard
 *
 * @typedef {Object} Answer
 * @property {string} token
 * @property {"first"|"second"|"same"|"sheet"} answer
 * @property {?Object} sheet      answers to `questions`, `words` {index: fault} and `note`; null but for sheets
 * @property {?number} confidence  1 (a guess) to 5 (certain)
 * @property {{[side: string]: number}} seconds_heard
 * @property {number} replays     how often clips were played again, from the start or after another
 * @property {string} nonce       one per trial shown: a second submit of it is the same answer
 */
"use strict";

const LETTERS = { first: "A", second: "B", x: "X" };
const SIDE_KEYS = { a: "first", b: "second", x: "x" };
const ORDER = { abx: ["first", "second", "x"], ab: ["first", "second"], xab: ["x", "first", "second"], sheet: ["first", "x"] };
const ANSWERS = {
  abx: { first: "X is A", second: "X is B" },
  ab: { first: "A", second: "B", same: "No difference" },
  xab: { first: "A is nearer to X", second: "B is nearer to X", same: "No difference" },
  sheet: {},
};
const CONFIDENCE = [1, 2, 3, 4, 5];

class TrialView {
  #answer = null;
  #confidence = null;
  #sent = false;
  #gateOpen = false;

  /**
   * @param {HTMLElement} root
   * @param {{onanswer: (answer: Answer) => void, keys?: [string, string][]}} events
   */
  constructor(root, { onanswer, keys = [] }) {
    this.root = root;
    this.onanswer = onanswer;
    this.player = new Player();
    this.heading = el("h2", { class: "question", tabindex: "-1" });
    this.sides = el("div", { class: "row sides", role: "group", "aria-label": "Clips" });
    this.answers = el("div", { class: "row answers", role: "group", "aria-label": "Answers" });
    this.sheet = el("div", { class: "sheet" });
    this.confidence = this.#confidenceRow();
    this.todo = el("p", { class: "todo" });
    this.confirm = button("Confirm", "Enter", () => this.#submit(), { class: "confirm" });
    this.deck = new Deck(root, this.player, {
      above: [this.heading, this.sides],
      below: [this.answers, this.sheet, this.confidence, el("div", { class: "row" }, this.confirm, this.todo)],
      keys: [
        ["a, b, x", "play a clip from its start, or switch to it while another plays"],
        ["1, 2, 3", "answer"],
        ["+ and -", "more and less certain"],
        ["Enter", "confirm the answer"],
        ...keys,
      ],
      onkey: (key, event) => this.#key(key, event),
      label: (index) => `Clip ${LETTERS[this.order[index]]}`,
      onpaint: () => this.#paint(),
      ontick: () => this.#paintHeard(),
    });
    root.player = this.player;
  }

  /** @param {Trial} trial */
  show(trial) {
    if (this.trial?.token === trial.token) return;
    Object.assign(this, { trial, nonce: randomToken(), order: ORDER[trial.kind].filter((side) => trial.sides[side]) });
    this.#answer = null;
    this.#confidence = null;
    this.#sent = false;
    const withFocus = this.#hasFocus();
    setText(this.heading, trial.question);
    this.sides.replaceChildren(...this.order.map((side, k) => this.#sideButton(side, k)));
    const labels = Object.entries(trial.answers ?? ANSWERS[trial.kind]);
    this.answers.replaceChildren(...labels.map(([value, label], k) => this.#answerButton(value, label, String(k + 1))));
    this.answers.hidden = labels.length === 0;
    const onchange = () => this.#paint();
    this.questions = new Questions(this.sheet, trial.questions ?? [], { note: trial.note, keys: true, onchange });
    this.player.open(this.order.map((side) => trial.sides[side]));
    this.deck.show({ transcript: trial.transcript ?? [], tagging: trial.kind === "sheet" });
    this.order.forEach((_, k) => this.player.load(k).catch(() => {})); // a trial's few clips, all at once
    this.player.select(0);
    if (!withFocus) return;
    this.heading.blur(); // focused anew, it is read out
    this.heading.focus();
  }

  /** Show why an answer was not taken, and take another. */
  refuse(message) {
    if (!this.#sent) return;
    this.#sent = false;
    this.deck.say(message);
    this.#paint();
  }

  close() {
    this.deck.close();
    return this.player.close();
  }

  /** The letters of the clips that must still be heard whole. X of a sheet is there to compare, if one likes. */
  unheard() {
    if (this.trial.gate === false) return [];
    const needed = this.order.filter((side) => this.trial.kind !== "sheet" || side === "first");
    return needed.filter((side) => !this.player.heard(this.order.indexOf(side)).whole).map((side) => LETTERS[side]);
  }

  #sideButton(side, k) {
    const key = LETTERS[side].toLowerCase();
    const made = button(LETTERS[side], key, () => this.#listen(k), { class: "side", "aria-pressed": "false" });
    made.append(el("span", { class: "heard" }));
    return made;
  }

  #answerButton(value, label, key) {
    return button(label, key, () => this.#choose(value), { class: "answer", "data-answer": value, "aria-pressed": "false" });
  }

  #confidenceRow() {
    const buttons = CONFIDENCE.map((level) =>
      el("button", {
        type: "button",
        text: String(level),
        "aria-pressed": "false",
        "aria-label": `${level} of 5`,
        onclick: () => this.#trust(this.#confidence === level ? null : level),
      }),
    );
    const label = (text) => el("span", { class: "label", text });
    const group = { class: "row confidence", role: "group", "aria-label": "Confidence, from a guess to certain" };
    return el("div", group, label("How sure are you?"), label("a guess"), ...buttons, label("certain"));
  }

  /** From the start, unless another clip plays: then go on at the same word. */
  #listen(index) {
    const { player } = this;
    this.deck.say(`Clip ${LETTERS[this.order[index]]}`);
    if (player.playing && player.current !== index) {
      player.select(index);
    } else {
      player.playFromStart(index);
    }
  }

  #choose(value) {
    const unheard = this.unheard();
    if (unheard.length) {
      this.deck.say(`First listen to ${listed(unheard)} to the end.`);
      return;
    }
    this.#answer = value;
    this.deck.say(`${this.answers.querySelector(`[data-answer=${value}] .label`).textContent}. Enter confirms.`);
    this.#paint();
    this.confirm.focus();
  }

  #trust(level) {
    this.#confidence = level;
    this.#paint();
  }

  #hasFocus() {
    return this.root.contains(this.root.getRootNode().activeElement);
  }

  #ready() {
    if (this.#sent || this.unheard().length) return false;
    return this.trial.kind === "sheet" ? this.questions.complete : this.#answer !== null;
  }

  #submit() {
    if (!this.#ready()) return;
    this.player.pause();
    this.#sent = true;
    if (this.#hasFocus()) this.heading.focus(); // the button that has it is about to be disabled
    const heard = this.order.map((side, k) => [side, this.player.heard(k)]);
    const isSheet = this.trial.kind === "sheet";
    const words = this.deck.tags[this.trial.sides.first.id] ?? {};
    this.#paint();
    this.deck.say("Sent.");
    this.onanswer({
      token: this.trial.token,
      answer: isSheet ? "sheet" : this.#answer,
      sheet: isSheet ? { ...this.questions.values, words } : null,
      confidence: this.#confidence,
      seconds_heard: Object.fromEntries(heard.map(([side, { seconds }]) => [side, Math.round(seconds * 100) / 100])),
      replays: heard.reduce((sum, [, { plays }]) => sum + Math.max(0, plays - 1), 0),
      nonce: this.nonce,
    });
  }

  #paint() {
    if (!this.trial) return;
    const { player } = this;
    this.#paintHeard();
    [...this.sides.children].forEach((side, k) => {
      setPressed(side, k === player.current);
      side.setAttribute("aria-busy", String(k === player.pending));
    });
    const unheard = this.unheard();
    for (const answer of this.answers.children) {
      answer.disabled = this.#sent || unheard.length > 0;
      setPressed(answer, answer.dataset.answer === this.#answer);
    }
    this.confidence.querySelectorAll("button").forEach((level, k) => setPressed(level, this.#confidence === CONFIDENCE[k]));
    this.confirm.disabled = !this.#ready();
    setText(this.todo, this.#sent ? "" : this.#next(unheard));
    Object.assign(this.root.dataset, { state: player.playing ? "playing" : "silent", sent: String(this.#sent) });
    if (player.sources.length && player.sources.every((source) => source.buffer)) this.root.dataset.ready = this.trial.token;
  }

  #next(unheard) {
    if (unheard.length) return `Listen to ${listed(unheard)} to the end to answer.`;
    if (this.trial.kind === "sheet") return this.questions.complete ? "" : "Say what you heard.";
    return this.#answer ? "" : "Choose an answer.";
  }

  #paintHeard() {
    [...this.sides.children].forEach((side, k) => {
      const { share, whole } = this.player.heard(k);
      const text = whole ? "heard" : share > 0 ? `${Math.floor(share * 100)} %` : "not heard";
      setText(side.querySelector(".heard"), text);
    });
    if (this.#gateOpen !== (this.unheard().length === 0)) {
      this.#gateOpen = !this.#gateOpen;
      this.#paint();
    }
  }

  #key(key, event) {
    const side = this.order.indexOf(SIDE_KEYS[key]);
    const answer = this.answers.children[Number(key) - 1];
    if (side >= 0) this.#listen(side);
    else if (answer) this.#choose(answer.dataset.answer);
    else if (this.questions.toggle(Number(key) - 1)) return true;
    else if (key === "+" || key === "=") this.#trust(Math.min(5, (this.#confidence ?? 2) + 1));
    else if (key === "-") this.#trust(Math.max(1, (this.#confidence ?? 4) - 1));
    else if (key === "Enter" && !event.composedPath()[0].matches("button, summary, a")) this.#submit();
    else return false;
    return true;
  }
}
