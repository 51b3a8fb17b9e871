"""What Modelyard talks about: pure types and policies, no I/O."""
