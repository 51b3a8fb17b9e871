"""Pages that stand by themselves: one file, no script, nothing that is loaded."""
