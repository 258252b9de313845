"""What the event engine runs on: printers of its rules, and the runtimes that they call."""
