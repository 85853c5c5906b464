"""serve: shipped voices over HTTP, as OpenAI's clients ask for speech.

A front answers requests (app.py); one worker process per environment speaks (worker.py), through the same Speaker as
probes. The front loads no model library, and a worker knows nothing of HTTP.
"""

TOKEN = "TTS_TRAIN_SERVE_TOKEN"  # noqa: S105  the name of a variable
