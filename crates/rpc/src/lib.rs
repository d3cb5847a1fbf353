//! gRPC adapters of the ports: channels, natural batching, deadlines, server start
