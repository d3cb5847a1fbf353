//! The ports between the parts of a store, and their plain messages
