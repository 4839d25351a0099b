"""Looking a customer up: who asks, what is asked, what the role sees, and that it was written down before."""
