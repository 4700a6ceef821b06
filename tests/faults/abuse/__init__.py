"""What no well-meaning client does to a connection, and those who are served all the while."""
