"""The gateway of one host: keys, load balancing, queueing and traffic split in front of replicas.

A process of its own, started by the agent and outliving it. It knows its configuration file and
nothing else of the platform, so it serves on with agent and server gone.
"""

REPLACE = "--replace"
"""Option of its command: take over from the gateway that runs."""
