"""The command line: arguments in, one workflow, exit status out."""
