"""Stand-ins on loopback for what the agents talk to: tests and demos need no account, no internet."""
