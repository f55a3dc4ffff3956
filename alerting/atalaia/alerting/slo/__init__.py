"""Service level objectives: what is promised, how much of it is spent, and who is called when it burns too fast.

An objective (`objectives`) is written in YAML (`document`, `loader`), or comes from Sloth or OpenSLO (`importing`).
`burn` makes its alert rules, `budget` says what is spent and left, from counts that `history` reads.
"""
