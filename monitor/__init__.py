"""Runs the journey, remembers, shows: the daemon, the store and the command line."""
