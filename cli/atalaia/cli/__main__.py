"""`python -m atalaia.cli`: the same as the `atalaia` command."""

from atalaia.cli.main import main

if __name__ == "__main__":
    main()
