"""Tests through the real server and the real wire."""
