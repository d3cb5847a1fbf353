//! Lamina's operator for Kubernetes.

fn main() -> std::process::ExitCode {
    lamina_operator::operator()
}
