"""`python -m snakepit_bridge worker package.module:program`: processes that serve a program as a tool, kept running.

`worker` reads the command line, `supervisor` keeps the processes, `process` is one of them, `target` finds in it what
is to be served.
"""
