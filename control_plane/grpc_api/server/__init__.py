"""How calls are carried out: methods, threads, the port."""
