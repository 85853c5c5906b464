"""The screen: measures of every clip of a dataset, filters over them, and one reason for each clip left out."""
