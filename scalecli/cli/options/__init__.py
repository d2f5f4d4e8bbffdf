"""Groups of options that subcommands share."""
