"""The morning report: what a night has done, what went wrong, what waits for ears, and the disk that is left."""
