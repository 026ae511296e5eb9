"""``python -m graft``: the command line, as torchrun starts it too."""

from graft.cli import main

main()
