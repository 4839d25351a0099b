"""Backups: what a backup folder says of itself, what a restore must cut, and who can open the keys."""
