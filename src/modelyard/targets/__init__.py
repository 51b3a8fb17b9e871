"""Places deployments run: one module per target, one interface in `base`."""
