"""Words, numbers, lines, progress and files: what everything that is read by people is made with."""
