#!/usr/bin/env python
"""Django's command-line entry."""

import os
import sys

# Commands for other programs, which work without any of our surroundings.
BARE_COMMANDS = {"eval_formulas"}

if __name__ == "__main__":
    if BARE_COMMANDS.intersection(sys.argv[1:2]):
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings_bare"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
