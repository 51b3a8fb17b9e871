"""What starts one replica: one module per way, one interface in `base`."""
