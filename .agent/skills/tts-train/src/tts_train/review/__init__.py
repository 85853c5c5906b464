"""What people heard, and the training decision that follows: store, evidence, moves, reports."""
