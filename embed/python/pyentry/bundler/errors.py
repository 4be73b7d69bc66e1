"""What ends a build: one line for the user."""


class Refused(Exception):
    """Its text is the line; exit status 1."""
