"""The listening player: scripts and styles, put together for the dashboard and for pages without a server."""
