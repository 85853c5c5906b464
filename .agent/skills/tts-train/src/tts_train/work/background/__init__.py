"""Jobs in the background: commands that outlive the terminal, their logs, how they ended."""
