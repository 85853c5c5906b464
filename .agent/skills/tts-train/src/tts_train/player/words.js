/**
 * Times and words: which moment of one reading is which moment of another. Pure functions, a classic script.
 *
 * @typedef {{word: string, start: ?number, end: ?number}} Word  Seconds from the start; null where nobody knows.
 */
"use strict";

const LOOP_MARGIN = 0.03; // s around a looped word: aligners are about this exact
const SHORTEST_LOOP = 0.2; // s: of a dropped word one hears what is there instead

/**
 * The time in reading `to` that corresponds to `time` in reading `from`: linear between the starts and ends of words,
 * in proportion to the whole where the readings do not have the same number of words.
 * @param {number} time
 * @param {{words: Word[], duration: number}} from
 * @param {{words: Word[], duration: number}} to
 */
function mapTime(time, from, to) {
  const here = [0];
  const there = [0];
  const add = (x, y) => {
    const known = Number.isFinite(x) && Number.isFinite(y);
    if (!known || x < here.at(-1) || y < there.at(-1) || x > from.duration || y > to.duration) return;
    here.push(x);
    there.push(y);
  };
  if (from.words.length === to.words.length) {
    from.words.forEach((word, k) => {
      add(word.start, to.words[k].start);
      add(word.end, to.words[k].end);
    });
  }
  add(from.duration, to.duration);
  let k = Math.max(0, here.length - 2);
  while (k > 0 && here[k] > time) k--;
  const length = here[k + 1] - here[k];
  const share = length > 0 ? Math.min(1, (time - here[k]) / length) : 0;
  return there[k] + share * (there[k + 1] - there[k]);
}

/** The index of the word that is spoken at `time` or was last; 0 before the first, -1 when there is none. */
function wordAt(words, time) {
  let found = words.length ? 0 : -1;
  words.forEach((word, k) => {
    if (Number.isFinite(word.start) && word.start <= time) found = k;
  });
  return found;
}

/** What is played to loop a word: [from, to] in seconds, or null where the word's times are not known. */
function loopSpan(word, duration) {
  if (!word || !Number.isFinite(word.start) || !Number.isFinite(word.end)) return null;
  const margin = Math.max(LOOP_MARGIN, (SHORTEST_LOOP - (word.end - word.start)) / 2);
  const from = Math.max(0, word.start - margin);
  const to = Math.min(duration, word.end + margin);
  return to > from ? [from, to] : null;
}

/** Which parts of a clip were heard, however often and in whatever order. */
class Coverage {
  #parts = [];

  add(from, to) {
    if (!(to > from)) return;
    const apart = this.#parts.filter(([a, b]) => b < from || a > to);
    const touching = this.#parts.filter(([a, b]) => !(b < from || a > to));
    apart.push([Math.min(from, ...touching.map(([a]) => a)), Math.max(to, ...touching.map(([, b]) => b))]);
    this.#parts = apart;
  }

  get seconds() {
    return this.#parts.reduce((sum, [a, b]) => sum + b - a, 0);
  }

  copy() {
    const copy = new Coverage();
    for (const [a, b] of this.#parts) copy.add(a, b);
    return copy;
  }
}
