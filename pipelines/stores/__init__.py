"""Files of stores: recognised by content, whose and of which day, row by row, and what a correction changes. Pure."""
