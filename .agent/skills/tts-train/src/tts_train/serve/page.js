"use strict";
/* Plays sentences as they arrive (24 kHz, 16-bit, mono), then offers all of it again as a WAV. */
const RATE = 24000;
const at = (id) => document.getElementById(id);
let running = null;

function tell(text, fault = false) {
  at("told").textContent = text;
  at("told").classList.toggle("fault", fault);
}

function headers() {
  const token = at("token").value.trim();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function refuse(answer) {
  const body = await answer.json().catch(() => null);
  throw new Error(body?.error?.message ?? `The server answered ${answer.status}.`);
}

async function listVoices() {
  const wanted = !at("token-row").hidden;
  if (wanted && !at("token").value.trim()) {
    tell("Give the server's token.");
    return;
  }
  const answer = await fetch("/v1/audio/voices", { headers: headers() });
  if (!answer.ok) await refuse(answer);
  const chosen = at("voice").value;
  const options = (await answer.json()).voices.map((voice) => {
    const option = document.createElement("option");
    option.value = voice.id;
    option.textContent = voice.language ? `${voice.id} (${voice.language})` : voice.id;
    return option;
  });
  at("voice").replaceChildren(...options);
  if (chosen) at("voice").value = chosen;
  tell("");
}

/* Sentence after sentence on one clock, without a gap between them. */
class Player {
  constructor() {
    this.context = new AudioContext();
    this.end = 0;
    this.odd = new Uint8Array(0);
    this.parts = [];
  }
  add(bytes) {
    const joined = new Uint8Array(this.odd.length + bytes.length);
    joined.set(this.odd);
    joined.set(bytes, this.odd.length);
    const even = joined.length - (joined.length % 2);
    this.odd = joined.slice(even);
    if (!even) return;
    const samples = new Int16Array(joined.buffer.slice(0, even));
    this.parts.push(samples);
    const buffer = this.context.createBuffer(1, samples.length, RATE);
    const channel = buffer.getChannelData(0);
    for (let index = 0; index < samples.length; index += 1) channel[index] = samples[index] / 32767;
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    this.end = Math.max(this.end, this.context.currentTime + 0.05);
    source.start(this.end);
    this.end += buffer.duration;
  }
  remaining() {
    return Math.max(0, this.end - this.context.currentTime);
  }
  wav() {
    const size = 2 * this.parts.reduce((sum, part) => sum + part.length, 0);
    const header = new DataView(new ArrayBuffer(44));
    const word = (place, text) => [...text].forEach((letter, index) => header.setUint8(place + index, letter.charCodeAt(0)));
    word(0, "RIFF");
    header.setUint32(4, 36 + size, true);
    word(8, "WAVEfmt ");
    [[16, 16], [24, RATE], [28, 2 * RATE], [40, size]].forEach(([place, value]) => header.setUint32(place, value, true));
    [[20, 1], [22, 1], [32, 2], [34, 16]].forEach(([place, value]) => header.setUint16(place, value, true));
    word(36, "data");
    return new Blob([header, ...this.parts], { type: "audio/wav" });
  }
}

async function speak() {
  stop();
  const input = at("text").value.trim();
  if (!input) {
    tell("Write some words first.", true);
    at("text").focus();
    return;
  }
  const mine = { leave: new AbortController(), player: new Player() };
  running = mine;
  at("stop").disabled = false;
  at("audio").pause();
  const wanted = { model: "tts-train", voice: at("voice").value, input, response_format: "pcm", stream: true };
  if (at("seed").value !== "") wanted.seed = Number(at("seed").value);
  tell("Speaking …");
  const started = performance.now();
  try {
    if (!at("voice").value) await listVoices();
    wanted.voice = at("voice").value;
    const answer = await fetch("/v1/audio/speech", {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers() },
      body: JSON.stringify(wanted),
      signal: mine.leave.signal,
    });
    if (!answer.ok) await refuse(answer);
    let first = 0;
    for (const reader = answer.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      first = first || performance.now() - started;
      mine.player.add(value);
    }
    if (running !== mine) return;
    URL.revokeObjectURL(at("audio").src);
    at("audio").src = at("save").href = URL.createObjectURL(mine.player.wav());
    at("made").hidden = false;
    tell(`First sound after ${(first / 1000).toFixed(2)} s, all of it after ${((performance.now() - started) / 1000).toFixed(2)} s.`);
    window.setTimeout(() => { if (running === mine) finish(); }, 1000 * mine.player.remaining());
  } catch (error) {
    if (running !== mine) return;
    finish();
    tell(error.message, true);
  }
}

function finish() {
  running?.player.context.close();
  running = null;
  at("stop").disabled = true;
}

function stop() {
  if (!running) return;
  running.leave.abort();
  finish();
  tell("Stopped.");
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  speak();
});
at("stop").addEventListener("click", stop);
at("token").addEventListener("change", () => listVoices().catch((error) => tell(error.message, true)));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    speak();
  }
});
listVoices().catch((error) => tell(error.message, true));
