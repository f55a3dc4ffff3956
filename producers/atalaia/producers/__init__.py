"""What a service installs to emit metrics: one import, one line."""
