"""The recording that the README shows: two terminals, a program and a command line, of a run that was made."""
