"""Speed and memory, as commands. Nothing here is a test, and DVC tracks no time."""
