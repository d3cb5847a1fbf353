//! The client of a Lamina store
