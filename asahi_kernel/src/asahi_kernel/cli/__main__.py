"""`python -m asahi_kernel.cli`, the same as `asahi`."""

from asahi_kernel.cli import main

main()
