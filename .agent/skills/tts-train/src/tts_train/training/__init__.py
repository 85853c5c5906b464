"""The one training loop and what a run leaves on disk."""
