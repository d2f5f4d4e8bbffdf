"""What subcommands print: tables in a terminal and as files, progress, examples."""
