"""The `atalaia` command."""
