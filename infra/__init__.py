"""Everything that runs beside our own code: the embedded stack, its jars, its catalogues, its monitoring."""
