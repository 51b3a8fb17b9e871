"""What pickles name, read from their opcodes. Nothing is ever loaded, everything is bounded.

`machine` follows one pickle, `sources` gives it bytes, `scan` looks at the files of a model.
"""
