"""The command line: a verb a file, each of which parses, calls and prints."""

from softcell.cli.app import VERBS, main

__all__ = ["VERBS", "main"]
