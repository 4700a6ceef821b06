"""Worker processes, and how to wait for them."""
