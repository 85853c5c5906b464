"""Training on machines rented by the hour: RunPod with a client of our own, others by files for their tools."""
