"""Research programs: python -m experiments.<name>."""
