"""The ways of asking a replica for a score, one module each, over whatever it serves."""
