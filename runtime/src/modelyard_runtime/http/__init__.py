"""The HTTP/1.1 server core, which the workers of a replica and the gateway share."""
