"""The HTTP routes of the kernel."""
