"""What runs compiled code: the cache of it, threads, the CPUs there are, memory of large results."""
