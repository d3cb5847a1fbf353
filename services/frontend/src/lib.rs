//! The frontend service: memtables and the replicated log; talks to clients
