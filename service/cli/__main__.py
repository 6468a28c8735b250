"""`python -m service.cli`, as `torchrun` starts it."""

from service.cli import main

main()
