"""What works on this machine: interpreters, backends, plugins."""
