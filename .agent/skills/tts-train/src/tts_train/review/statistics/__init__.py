"""What counted answers can and cannot decide."""
