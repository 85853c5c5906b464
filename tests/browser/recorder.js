/** For tests: record what a player sends to the loudspeaker, sample by sample, and wait on the audio's own clock. */
window.Recorder = class {
  static async of(player) {
    const code = `registerProcessor("tap", class extends AudioWorkletProcessor {
      process([input]) {
        // Counted here: under load Chromium now and then gives two blocks in a row the same currentFrame.
        this.frame ??= currentFrame;
        this.port.postMessage([this.frame, input[0]?.slice() ?? new Float32Array(128)]);
        this.frame += 128;
        return true;
      }
    });`;
    await player.context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    const recorder = new window.Recorder();
    recorder.player = player;
    recorder.blocks = [];
    recorder.node = new AudioWorkletNode(player.context, "tap", { numberOfOutputs: 0 });
    recorder.node.port.onmessage = ({ data }) => recorder.blocks.push(data);
    player.output.connect(recorder.node);
    return recorder;
  }

  /** Seconds on the audio clock from now, if the context runs. */
  async pass(seconds) {
    const until = this.player.context.currentTime + seconds;
    while (this.player.context.currentTime < until) await new Promise((done) => requestAnimationFrame(done));
  }

  /** Samples between two times of the context's clock, as text for the test. */
  async samples(from, to) {
    const rate = this.player.context.sampleRate;
    const [first, last] = [Math.round(from * rate), Math.round(to * rate)];
    const end = () => (this.blocks.length ? this.blocks.at(-1)[0] + this.blocks.at(-1)[1].length : 0);
    while (end() < last) await new Promise((done) => setTimeout(done, 5));
    const samples = new Float32Array(last - first);
    for (const [frame, block] of this.blocks) {
      for (let k = 0; k < block.length; k++) {
        const at = frame + k - first;
        if (at >= 0 && at < samples.length) samples[at] = block[k];
      }
    }
    let text = "";
    for (const byte of new Uint8Array(samples.buffer)) text += String.fromCharCode(byte);
    return btoa(text);
  }
};

/** Every AudioContext that the page makes. */
window.contexts = [];
window.AudioContext = class extends AudioContext {
  constructor(...given) {
    super(...given);
    window.contexts.push(this);
  }
};
