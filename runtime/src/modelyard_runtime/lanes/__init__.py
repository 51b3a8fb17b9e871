"""Where `run` executes, and in which company: threads, batches, limits, answers in parts."""
