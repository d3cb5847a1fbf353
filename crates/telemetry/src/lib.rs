//! Logs, the metric registry and its naming rule, the admin HTTP door
