"""Rules tried on the past: the same law as live, on columns of minutes."""
