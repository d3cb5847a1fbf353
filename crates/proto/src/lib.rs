//! The wire messages: protobuf, generated code, the one status table
