/**
 * Questions with buttons for answers, as a sheet or a profile has them. A classic script; needs dom.js.
 *
 * @typedef {Object} Question
 * @property {string} id
 * @property {string} label
 * @property {{value: string, label: string}[]} options
 * @property {boolean} [many]      several may hold; the value is then a list
 * @property {boolean} [required]
 */
"use strict";

class Questions {
  #chosen = {};

  /**
   * @param {HTMLElement} root  emptied and filled
   * @param {Question[]} questions
   * @param {{note?: boolean, keys?: boolean, onchange?: () => void}} options  note: whether to ask for notes; keys:
   *   whether the first question's options have digits, for `toggle`
   */
  constructor(root, questions, { note = false, keys = false, onchange = () => {} }) {
    Object.assign(this, { questions, onchange });
    this.rows = questions.map((question, k) => this.#row(question, keys && k === 0));
    this.note = note ? el("textarea", { rows: "2", maxlength: "2000", oninput: onchange }) : null;
    const field = this.note && el("label", { class: "note" }, el("span", { class: "label", text: "Notes" }), this.note);
    root.replaceChildren(...this.rows, ...(field ? [field] : []));
    root.hidden = !questions.length && !note;
  }

  /** Answers by question id, and `note`. */
  get values() {
    const answers = this.questions.map(({ id, many }) => {
      const chosen = [...(this.#chosen[id] ?? [])];
      return [id, many ? chosen : chosen[0]];
    });
    const given = answers.filter(([, value]) => value !== undefined);
    return { ...Object.fromEntries(given), ...(this.note && { note: this.note.value.trim() }) };
  }

  get complete() {
    return this.questions.every(({ id, required }) => !required || this.#chosen[id]?.size);
  }

  /** Choose or leave the option of the first question that has this number. @returns {boolean} whether there is one */
  toggle(number) {
    const option = this.rows[0]?.querySelectorAll("button")[number];
    option?.click();
    return Boolean(option);
  }

  #row({ id, label, options, many = false }, keys) {
    const buttons = options.map((option, k) =>
      button(option.label, keys && k < 9 ? String(k + 1) : null, () => this.#choose(id, option.value, many), {
        "data-value": option.value,
        "aria-pressed": "false",
      }),
    );
    const name = el("span", { class: "label", text: label });
    return el("div", { class: "row asked", role: "group", "aria-label": label, "data-question": id }, name, ...buttons);
  }

  #choose(id, value, many) {
    const chosen = this.#chosen[id] ?? new Set();
    const had = chosen.has(value);
    if (!many) chosen.clear();
    if (had) chosen.delete(value);
    else chosen.add(value);
    this.#chosen[id] = chosen;
    const row = this.rows[this.questions.findIndex((question) => question.id === id)];
    for (const option of row.querySelectorAll("button")) setPressed(option, chosen.has(option.dataset.value));
    this.onchange();
  }
}
