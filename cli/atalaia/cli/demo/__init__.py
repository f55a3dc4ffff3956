"""`atalaia demo`: from nothing to proven numbers and a real alert, with real data."""
