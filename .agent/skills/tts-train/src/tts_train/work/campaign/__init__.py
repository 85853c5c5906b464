"""Campaigns: several configs, from recording to probed epochs, through nights and kills."""
