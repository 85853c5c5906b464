"""What commands do when it takes several parts: train and probe, speak, export, the demo."""
