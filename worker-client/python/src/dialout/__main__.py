"""`python -m dialout`."""

from .cli.program import main

if __name__ == "__main__":
    main()
