"""How rules are written: JSON, YAML and Prometheus' files, all to one value; and what is wrong in them, and where."""
