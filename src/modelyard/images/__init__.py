"""Builds images, checks that they start, and unpacks them where they run."""
