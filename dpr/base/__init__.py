"""What every package uses: errors, atomic files, seeds and devices, resuming."""
