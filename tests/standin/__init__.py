"""Stand-ins on loopback for what the agents talk to, so that tests and demos need no account and no internet."""
