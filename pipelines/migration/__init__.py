"""History of other systems into the lake: full, then by increments, until the cut-over; with a certificate."""
