"""What people at the service desk ask of the data."""
