"""Words, numbers and lines for readers; imports nothing of the project."""
