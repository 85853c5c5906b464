"""Measures of speech: words recognised, speaker, spectrum, pace and levels."""
