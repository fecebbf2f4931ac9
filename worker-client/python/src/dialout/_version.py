"""The version of the package; the wheel's comes from here."""

__version__ = "0.1.0"
