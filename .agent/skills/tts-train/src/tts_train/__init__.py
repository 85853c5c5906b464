"""tts-train: fine-tune a text-to-speech voice and know which checkpoint to ship."""

__version__ = "0.1.0"
