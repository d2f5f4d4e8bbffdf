"""`python -m scalecli`: the command line without its entry point."""

from scalecli.cli.main import main

main()
