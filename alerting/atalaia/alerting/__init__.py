"""Rules, their pure evaluation, and the life of an alert."""
