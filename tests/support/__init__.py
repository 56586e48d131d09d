"""What tests of several folders share: a real server process, and a device that knows only the protocol."""
