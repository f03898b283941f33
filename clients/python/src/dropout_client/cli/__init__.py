"""The command line, over the public client. Installed by the extra ``cli``."""
