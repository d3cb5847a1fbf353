//! `kubectl lamina …`

fn main() -> std::process::ExitCode {
    lamina_operator::plugin()
}
