"""Who is who: the map from identifier tokens to coded customer IDs, and the names for those not known yet."""
