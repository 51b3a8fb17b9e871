"""One process per replica that holds its container, in the place of the runtime's own process.

A supervisor starts it, as it starts a runtime of the driver `process`: it ends when the container
does, with the same status, and what it is told (SIGTERM, SIGABRT) it tells the container. It
imports the standard library only.
"""
