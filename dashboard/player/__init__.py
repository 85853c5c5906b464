"""The listening player as a Streamlit component; its scripts and styles are in the package tts_train.player."""
