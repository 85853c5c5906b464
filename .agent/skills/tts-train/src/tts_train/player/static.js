/**
 * A whole listening session on a page of its own, opened from file://, without a server. A classic script; needs trial.js.
 *
 * @typedef {Object} Session
 * @property {"tts-train-session/1"} format
 * @property {string} session   opaque
 * @property {string} plan      the plan's signature; goes back with the answers, unread
 * @property {string} title
 * @property {string} introduction
 * @property {string} listener  whom the page is for: a session is one person's
 * @property {Question[]} [profile]  about the listener
 * @property {Trial[]} trials   sides are {token, words, gain}; the clip is clips/TOKEN.js or inside the page
 *
 * The answers file: {format: "tts-train-answers/1", session, plan, listener: {name, region?, …profile}, total, answers:
 * [Answer with `clips` {side: token} and `at`, ISO 8601 in UTC]}. Answers come in the order they were given; a session may
 * be handed in unfinished.
 */
"use strict";

/** Answers on this device. Where the browser keeps nothing (private windows, some phones), in memory and `lasting` false. */
class Memory {
  lasting = true;
  #kept = null;

  constructor(name) {
    this.name = `tts-train:${name}`;
    try {
      this.#kept = JSON.parse(localStorage.getItem(this.name));
      localStorage.setItem(this.name, JSON.stringify(this.#kept));
    } catch {
      this.lasting = false;
    }
  }

  read() {
    return this.#kept;
  }

  write(value) {
    this.#kept = value;
    try {
      localStorage.setItem(this.name, JSON.stringify(value));
    } catch {
      this.lasting = false;
    }
  }
}

/** The bytes of a clip: from the page, or from a script beside it, as fetch is refused on file://. */
function loadClip(token) {
  const inside = document.querySelector(`script[data-clip="${token}"]`);
  if (inside) return Promise.resolve(bytesOf({ base64: inside.textContent }));
  return new Promise((resolve, reject) => {
    window.SESSION_CLIPS[token] = (base64) => resolve(bytesOf({ base64 }));
    const script = el("script", { src: `clips/${token}.js` });
    script.onload = () => script.remove();
    script.onerror = () => {
      script.remove();
      reject(new Error("its file is missing. Unpack the whole folder and open the page from there"));
    };
    document.head.append(script);
  });
}

class SessionPage {
  /** @param {HTMLElement} root @param {Session} session */
  constructor(root, session) {
    Object.assign(this, { root, session, memory: new Memory(session.session) });
    this.kept = this.memory.read() ?? { listener: {}, answers: [] };
    this.warning = el("p", { class: "warning", role: "alert", hidden: true });
    this.main = el("div", { class: "ttp" });
    root.replaceChildren(this.warning, this.main);
    this.#warn();
    this.welcome();
  }

  get next() {
    const answered = new Set(this.kept.answers.map((answer) => answer.token));
    return this.session.trials.find((trial) => !answered.has(trial.token));
  }

  get progress() {
    return `${this.kept.answers.length} of ${this.session.trials.length}`;
  }

  welcome() {
    const { session, kept } = this;
    const region = el("input", { type: "text", maxlength: "64", autocomplete: "off" });
    const asked = el("div", { class: "sheet" });
    const profile = new Questions(asked, session.profile ?? [], {});
    const begun = kept.answers.length > 0;
    const text = begun ? `Welcome back: ${this.progress} trials are answered.` : session.introduction;
    const form = el(
      "form",
      { class: "start", onsubmit: (event) => this.#start(event, begun ? {} : { ...profile.values, region: region.value.trim() }) },
      begun ? null : el("label", { class: "note" }, el("span", { class: "label", text: "Where did you grow up? (optional)" }), region),
      begun ? null : asked,
      el("div", { class: "row" }, el("button", { class: "confirm", text: begun ? "Continue" : "Start" })),
    );
    const about = "Use headphones, in a quiet place. You can stop at any time and go on later on this device.";
    const whose = el("p", { text: `This page is for ${session.listener}. Anybody else needs a page of their own.` });
    this.#screen("welcome", session.title, whose, el("p", { text }), begun ? null : el("p", { text: about }), form);
  }

  trial() {
    const trial = this.next;
    if (!trial) {
      this.end();
      return;
    }
    if (!this.view) {
      this.count = el("p", { class: "count" });
      this.bar = el("progress", { "aria-label": "Answered" });
      const stage = el("div", { class: "ttp" });
      const stop = button("Stop here and hand in", null, () => this.end(), { class: "quiet" });
      this.main.className = "";
      this.main.replaceChildren(el("div", { class: "ttp head" }, this.count, this.bar, stop), stage);
      this.view = new TrialView(stage, { onanswer: (answer) => this.#answered(answer) });
    }
    const number = this.session.trials.indexOf(trial) + 1;
    setText(this.count, `Trial ${number} of ${this.session.trials.length}`);
    this.bar.max = this.session.trials.length;
    this.bar.value = this.kept.answers.length;
    const sides = Object.entries(trial.sides).map(([side, clip]) => [
      side,
      { ...clip, id: clip.token, load: () => loadClip(clip.token) },
    ]);
    this.view.show({ ...trial, sides: Object.fromEntries(sides) });
    this.root.dataset.screen = "trial";
  }

  end() {
    this.view?.close();
    this.view = null;
    const text = this.#answersFile();
    const field = el("textarea", { rows: "6", readonly: true, "aria-label": "Answers", onfocus: () => field.select() });
    field.value = text;
    const done = el("p", { class: "status", role: "status", "aria-live": "polite" });
    const save = button("Save the answers file", null, () => this.#save(text), { class: "confirm" });
    const copy = button("Copy the answers", null, async () => setText(done, await copied(text, field)), { class: "confirm" });
    const back = this.next ? button("Go on listening", null, () => this.trial()) : null;
    const buttons = el("div", { class: "row" }, save, copy, back);
    const what = "Send the file to whoever gave you this page. On a phone, copy the answers and paste them into a message.";
    const title = this.next ? `${this.progress} trials answered` : "Done. Thank you!";
    this.#screen("end", title, el("p", { text: what }), buttons, done, field);
  }

  #start(event, profile) {
    event.preventDefault();
    const said = Object.entries(profile).filter(([, value]) => value);
    this.kept.listener = { ...this.kept.listener, ...Object.fromEntries(said) };
    this.#keep();
    this.trial();
  }

  #answered(answer) {
    if (this.kept.answers.some(({ token }) => token === answer.token)) return; // each trial once
    const { sides } = this.session.trials.find(({ token }) => token === answer.token);
    const clips = Object.fromEntries(Object.entries(sides).map(([side, { token }]) => [side, token]));
    this.kept.answers.push({ ...answer, clips, at: new Date().toISOString() });
    this.#keep();
    this.trial();
  }

  #keep() {
    this.memory.write(this.kept);
    this.#warn();
  }

  #warn() {
    this.warning.hidden = this.memory.lasting;
    setText(
      this.warning,
      this.memory.lasting ? "" : "This browser keeps nothing: do not close or reload this page before you have saved or copied the answers.",
    );
  }

  #answersFile() {
    const { session, plan, trials } = this.session;
    const { answers } = this.kept;
    const listener = { name: this.session.listener, ...this.kept.listener };
    const file = { format: "tts-train-answers/1", session, plan, listener, total: trials.length, answers };
    return JSON.stringify(file, null, 1);
  }

  #save(text) {
    const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    const { session, listener } = this.session;
    const words = ["answers", ...(listener.toLowerCase().match(/[a-z0-9]+/g) ?? []), session.slice(0, 8)];
    el("a", { href: address, download: `${words.join("-")}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000); // Safari reads it late
  }

  #screen(name, title, ...content) {
    const heading = el("h1", { text: title, tabindex: "-1" });
    this.main.className = "ttp";
    this.main.replaceChildren(heading, ...content.filter(Boolean));
    this.root.dataset.screen = name;
    heading.focus();
  }
}

/** @returns {Promise<string>} what to tell the listener */
async function copied(text, field) {
  try {
    await navigator.clipboard.writeText(text);
    return "Copied.";
  } catch {
    field.select(); // the clipboard may be refused on file://: the old way needs a selection
    return document.execCommand("copy") ? "Copied." : "Select the text below and copy it.";
  }
}

/** Start the page. @param {HTMLElement} root @param {Session} session */
function runSession(root, session) {
  root.session = new SessionPage(root, session);
}
