"""One tiny process per replica that owns its socket, log, limits and exit status.

It is started by the replica driver `process`, outlives the agent, and imports the standard library
only. `python -m modelyard.agent.supervisor <folder>` supervises the replica of that folder.
"""
