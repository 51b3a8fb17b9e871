"""The scoring runtime of Modelyard: the HTTP server inside every image."""
