//! The project's own tools: tidy, generated code, peers for benchmarks
fn main() {}
