//! The index service: index blocks and filters of every table, in memory
