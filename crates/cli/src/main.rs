//! The command line of Lamina
fn main() {}
