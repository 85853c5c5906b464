"""Building a dataset from a book or from transcribed clips."""
