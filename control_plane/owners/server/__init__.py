"""The gRPC service of the owners stream, over a journal that somebody keeps."""
