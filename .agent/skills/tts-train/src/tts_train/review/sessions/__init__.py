"""Blind listening sessions: planned, played, answered, closed."""
