"""What one client subscribes to, was sent and runs: pure state machines, one for each stream.

From the bottom up, each module imports only those before it:

- `client_versions`, `response`, `refusal`: values.
- `subscription`: all that is known of one type of one client.
- `trials`, `selection`: what of a type is sent next.
- `answers`: what an ACK or a NACK says of what the client runs. The most subtle part.
- `unsettled`: what a stream that ends leaves to the node's next stream.
- `ledger`: all types of a client together; `order`: which type may be sent when.
- `session`: both, with the clock and with what holds a client back; `delta` and `sotw` speak the
  two protocols.
"""
