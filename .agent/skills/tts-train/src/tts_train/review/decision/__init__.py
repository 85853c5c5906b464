"""From verdicts and evidence to the next training move."""
