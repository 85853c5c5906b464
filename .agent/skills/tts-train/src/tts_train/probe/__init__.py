"""Probes: the same sentences spoken by every epoch, then measured, gated and compared."""
