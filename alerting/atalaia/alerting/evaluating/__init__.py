"""Expressions to numbers: pure evaluation at one instant, and the recent events that it reads."""
