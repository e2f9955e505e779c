"""The command line: one file a command. Exit codes are documented in the README and tested."""
