"""What `make bench` runs: this server against the simplest chain of its libraries (docs/internals/performance.md)."""
