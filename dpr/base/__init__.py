"""What every package stands on: errors, whole files, seeds and devices, resuming."""
