"""A gRPC client in a process of its own: for each line that it reads it calls ``xds:///greeter``.

gRPC takes its xDS bootstrap from the environment, once for a process.
"""

from __future__ import annotations

import sys

import grpc

from tests.xds.grpc_world import METHOD, TARGET

CALL_S = 10.0


def main() -> None:
    """Answer each line with what the backend said, or with the status of the failed call."""
    with grpc.insecure_channel(f"xds:///{TARGET}") as channel:
        call = channel.unary_unary(METHOD)
        for line in sys.stdin:
            try:
                said = call(b"", timeout=CALL_S, wait_for_ready=line.strip() == "wait").decode()
            except grpc.RpcError as error:
                said = error.code().name
            print(said, flush=True)


if __name__ == "__main__":
    main()
