"""Speeds and memory, as commands: nothing here is a test, and no time is tracked."""
