/**
 * The sound of the listening player: readings of one text, switched without a gap at the same word.
 *
 * Classic scripts without imports: they are inlined into the Streamlit component (which is loaded from a blob URL, where
 * relative imports fail) and into the page that opens from file://. Nothing here touches the document. Needs words.js.
 *
 * @typedef {Object} Source
 * @property {string} id        opaque to the player
 * @property {string} [url]     the clip's address, or
 * @property {string} [base64]  its bytes, or
 * @property {() => Promise<ArrayBuffer>} [load]  a way to get them
 * @property {Word[]} [words]   the same words for every source, each at its own times
 * @property {number} [gain]    linear; 1 leaves the clip as it is
 * @property {boolean} [reference]  kept loaded, as it is switched to most
 */
"use strict";

const FADE = 0.008; // s: a crossfade too short to be heard as one, long enough not to click
const LEAD = 0.012; // s from a key to its crossfade: more than is rendered ahead, so that it is not in the past
const LOOP_PAUSE = 0.25; // s of silence between two turns of a loop, to tell them apart
const WHOLE_TOLERANCE = 0.1; // s of a clip that may be missing when it counts as heard whole
const KEPT_SECONDS = 900; // decoded audio kept in memory: 86 MB at 24 kHz

/**
 * Plays one source at a time. Events: "change" after anything a listener can see has changed, "end" when a source has
 * played to its end, "error" (detail: {source, error}) when a clip cannot be loaded.
 */
class Player extends EventTarget {
  sources = [];
  current = 0;
  /** The source that was asked for and is still being loaded, or null. */
  pending = null;
  /** The index of the looped word, or null. */
  loop = null;
  /** "word": switching keeps the word; "time": it keeps the seconds. */
  sync = "word";
  #voice = null; // what sounds now
  #offset = 0; // where it goes on when nothing sounds
  #wanted = false; // whether the listener wants sound, loaded or not
  #turn = 0; // the newest wish wins; loads that were overtaken do nothing
  #clock = 0; // for the least recently used clip
  #last = null; // the source that sounded last

  /** @param {number} rate  Hz. The clips' own, so that decoding does not resample and takes the least memory. */
  constructor(rate = 24000) {
    super();
    try {
      this.context = new AudioContext({ latencyHint: "interactive", sampleRate: rate });
    } catch {
      this.context = new AudioContext({ latencyHint: "interactive" }); // devices that refuse another rate
    }
    // iPhones mute web audio with the ring switch unless the page says that it plays media.
    if (navigator.audioSession) navigator.audioSession.type = "playback";
    this.output = this.context.createGain();
    this.output.connect(this.context.destination);
  }

  /** Forget everything and take these sources. @param {Source[]} sources @param {number} [current] the one to begin with */
  open(sources, current = 0) {
    this.#silence(this.context.currentTime);
    this.#turn++;
    this.sources = sources.map((source) => ({
      words: [],
      gain: 1,
      ...source,
      duration: null,
      coverage: new Coverage(),
      seconds: 0,
      plays: 0,
      used: 0,
      loading: null,
      buffer: null,
    }));
    Object.assign(this, { current, pending: null, loop: null });
    this.#offset = 0;
    this.#wanted = false;
    this.#last = null;
    this.#changed();
  }

  /** What the listener is at: what sounds, else what was asked for last, loaded or not. */
  get attended() {
    return this.playing ? this.current : (this.pending ?? this.current);
  }

  get playing() {
    return this.#voice !== null;
  }

  /** Seconds into the current source, at `when` on the context's clock. */
  position(when = this.context.currentTime) {
    const voice = this.#voice;
    if (!voice) return this.#offset;
    const time = Math.max(0, when - voice.when);
    if (voice.span) return voice.span[0] + Math.min((voice.phase + time) % voice.period, voice.period - LOOP_PAUSE);
    return Math.min(voice.offset + time, voice.source.duration);
  }

  /** What leaves the loudspeaker now: behind `position` by the output's latency. For the eye only. */
  audiblePosition() {
    const { currentTime, outputLatency } = this.context;
    return this.position(currentTime - (outputLatency || 0));
  }

  /** Load and decode a source, once. @returns {Promise<AudioBuffer>} */
  load(index) {
    const source = this.sources[index];
    source.used = ++this.#clock;
    source.loading ??= this.#decode(source).catch((error) => {
      source.loading = null; // the next try loads again
      throw error;
    });
    return source.loading;
  }

  select(index) {
    if (index < 0 || index >= this.sources.length) return Promise.resolve();
    return this.#go(index);
  }

  play() {
    this.#wanted = true;
    return this.#go(this.pending ?? this.current);
  }

  playFromStart(index) {
    this.#wanted = true;
    this.loop = null;
    return this.#go(index, () => 0);
  }

  pause() {
    this.#wanted = false;
    this.#offset = this.position();
    this.#silence(this.context.currentTime);
    if (this.pending !== null) return this.#go(this.pending);
    this.#turn++; // a start that still waits for its clip is off
    this.#changed();
    return Promise.resolve();
  }

  toggle() {
    return this.#wanted ? this.pause() : this.play();
  }

  /** Go to a time of the current source; this ends a loop. */
  seek(time) {
    this.loop = null;
    const source = this.sources[this.current];
    return this.#go(this.current, () => Math.max(0, Math.min(time, source.duration)));
  }

  /** Play a word again and again, in every source that is switched to. */
  loopWord(index) {
    this.#wanted = true;
    this.loop = index;
    return this.#go(this.pending ?? this.current, ([from]) => from);
  }

  unloop() {
    if (this.loop === null) return Promise.resolve();
    this.loop = null;
    return this.#go(this.pending ?? this.current);
  }

  /** @returns {{seconds: number, share: number, whole: boolean, plays: number}} what was heard of a source until now */
  heard(index) {
    const source = this.sources[index];
    const voice = this.#voice;
    const coverage = source.coverage.copy();
    let { seconds } = source;
    if (voice && voice.source === source) seconds += this.#account(voice, this.context.currentTime, coverage);
    const missing = source.duration === null ? Infinity : source.duration - coverage.seconds;
    const share = source.duration ? Math.min(1, coverage.seconds / source.duration) : 0;
    return { seconds, share, whole: missing <= WHOLE_TOLERANCE, plays: source.plays };
  }

  /** Stop and release the audio device. The player cannot be used afterwards. */
  async close() {
    this.#turn++;
    this.#silence(this.context.currentTime);
    this.sources = [];
    if (this.context.state !== "closed") await this.context.close();
  }

  /**
   * Make `index` the current source, sounding or not. `place` gives the time to start at; without it, the place that
   * corresponds to where the listener is now. What sounds goes on sounding until the clip is there.
   */
  async #go(index, place = null) {
    const turn = ++this.#turn;
    const source = this.sources[index];
    const allowed = this.#wanted ? this.context.resume() : null; // called inside the key or click that allows it
    if (!source.buffer) {
      this.pending = index;
      this.#changed();
    }
    try {
      await this.load(index);
      await allowed;
    } catch (error) {
      if (turn === this.#turn) this.#failed(source, error);
      return;
    }
    if (turn !== this.#turn) return;
    const when = this.context.currentTime + LEAD;
    const left = this.sources[this.current];
    const at = this.position(when);
    const phase = this.#phase(when);
    const span = this.loop === null ? null : loopSpan(source.words[this.loop], source.duration);
    if (!span) this.loop = null;
    this.#silence(when);
    this.pending = null;
    this.current = index;
    this.#offset = place ? place(span ?? [at]) : left === source ? at : this.#corresponding(at, left, source);
    if (this.#wanted) this.#start(source, when, span, place ? 0 : phase);
    this.#changed();
    this.#fetchNeighbours();
  }

  #corresponding(time, from, to) {
    if (from.duration === null) return 0;
    return this.sync === "word" ? mapTime(time, from, to) : Math.min(time, to.duration);
  }

  /** How far the running loop is through its turn, 0 to 1. */
  #phase(when) {
    const voice = this.#voice;
    if (!voice?.span) return 0;
    return ((voice.phase + Math.max(0, when - voice.when)) % voice.period) / voice.period;
  }

  #start(source, when, span, phase) {
    const offset = Math.max(0, Math.min(this.#offset, source.duration - FADE));
    const node = this.context.createBufferSource();
    const gain = this.context.createGain();
    const voice = { node, gain, source, when, offset, span, phase: 0, period: 0 };
    node.buffer = span ? this.#loopBuffer(source.buffer, span) : source.buffer;
    if (span) {
      node.loop = true;
      voice.period = node.buffer.duration;
      voice.phase = phase * voice.period;
    }
    gain.gain.value = 0; // before `when`, too: a start between two samples would let the first one through in full
    gain.gain.setValueAtTime(0, when);
    gain.gain.linearRampToValueAtTime(source.gain, when + FADE);
    node.connect(gain).connect(this.output);
    node.onended = () => this.#ended(voice);
    node.start(when, span ? voice.phase : offset);
    if (this.#last !== source || (!span && offset < 0.05)) source.plays++;
    this.#last = source;
    this.#voice = voice;
  }

  /** The word with faded edges and a pause behind it: looped as it is, it would click at every turn. */
  #loopBuffer(buffer, [from, to]) {
    const rate = buffer.sampleRate;
    const [first, last] = [Math.floor(from * rate), Math.floor(to * rate)];
    const fade = Math.min(Math.floor(FADE * rate), Math.floor((last - first) / 2));
    const size = last - first + Math.round(LOOP_PAUSE * rate);
    const loop = this.context.createBuffer(buffer.numberOfChannels, size, rate);
    for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
      const samples = buffer.getChannelData(channel).slice(first, last);
      for (let k = 0; k < fade; k++) {
        samples[k] *= k / fade;
        samples[samples.length - 1 - k] *= k / fade;
      }
      loop.copyToChannel(samples, channel);
    }
    return loop;
  }

  #silence(when) {
    const voice = this.#voice;
    if (!voice) return;
    this.#voice = null;
    voice.source.seconds += this.#account(voice, when, voice.source.coverage);
    const level = voice.gain.gain;
    level.cancelScheduledValues(when);
    level.setValueAtTime(voice.source.gain * Math.max(0, Math.min(1, (when - voice.when) / FADE)), when);
    level.linearRampToValueAtTime(0, when + FADE);
    voice.node.stop(when + FADE);
  }

  #ended(voice) {
    voice.gain.disconnect();
    if (this.#voice !== voice) return;
    this.#voice = null;
    voice.source.seconds += this.#account(voice, Infinity, voice.source.coverage);
    this.#wanted = false;
    this.#offset = 0;
    this.#changed();
    this.dispatchEvent(new Event("end"));
  }

  /** Add what `voice` played until `when` to `coverage`. @returns {number} seconds of speech, pauses left out */
  #account(voice, when, coverage) {
    const time = Math.max(0, when - voice.when);
    if (!voice.span) {
      const to = Math.min(voice.offset + time, voice.source.duration);
      coverage.add(voice.offset, to);
      return to - voice.offset;
    }
    const length = voice.period - LOOP_PAUSE;
    const spoken = (until) => Math.floor(until / voice.period) * length + Math.min(until % voice.period, length);
    const until = voice.phase + time;
    const start = voice.span[0];
    coverage.add(start + (until >= voice.period ? 0 : voice.phase), start + Math.min(until, length));
    return spoken(until) - spoken(voice.phase);
  }

  async #decode(source) {
    const bytes = await bytesOf(source);
    source.buffer = await this.context.decodeAudioData(bytes);
    source.duration = source.buffer.duration;
    this.#forgetOldest();
    if (this.sources.includes(source)) this.#changed();
    return source.buffer;
  }

  #forgetOldest() {
    const decoded = this.sources.filter((source) => source.buffer).sort((a, b) => a.used - b.used);
    let seconds = decoded.reduce((sum, source) => sum + source.duration, 0);
    for (const source of decoded) {
      const needed = [this.current, this.pending].includes(this.sources.indexOf(source));
      if (seconds <= KEPT_SECONDS) return;
      if (needed) continue;
      seconds -= source.duration;
      Object.assign(source, { buffer: null, loading: null });
    }
  }

  /** The next switch is most likely to one of these. */
  #fetchNeighbours() {
    const reference = this.sources.findIndex((source) => source.reference);
    for (const index of [this.current + 1, this.current - 1, reference]) {
      if (this.sources[index]) this.load(index).catch(() => {}); // who selects it will hear of it
    }
  }

  #failed(source, error) {
    this.pending = null;
    this.#wanted = this.playing;
    this.dispatchEvent(new CustomEvent("error", { detail: { source, error } }));
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** @param {Source} source @returns {Promise<ArrayBuffer>} */
async function bytesOf(source) {
  if (source.load) return source.load();
  if (source.base64) return Uint8Array.from(atob(source.base64), (letter) => letter.charCodeAt(0)).buffer;
  const response = await fetch(source.url);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return response.arrayBuffer();
}
