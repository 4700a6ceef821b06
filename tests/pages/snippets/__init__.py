"""What is fenced in the pages of this repository, and who runs it."""
