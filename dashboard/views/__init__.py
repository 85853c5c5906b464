"""What pages show, worked out without Streamlit: plain data in, plain data out."""
