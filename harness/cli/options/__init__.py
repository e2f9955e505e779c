"""Options that commands share, in groups by what they are about."""
