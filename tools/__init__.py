"""What a person calls to look at results: `python -m tools.NAME --help`. No stage needs them."""
