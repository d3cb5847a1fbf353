//! One whole store in one process: wiring, supervisor, the embedded API
