"""Used by every package: errors, atomic files, processes, seeds and devices, resuming."""
