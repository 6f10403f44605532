"""How our programs run: the event loop, listening sockets, Envoy as a child process."""
