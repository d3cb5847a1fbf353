//! The outside world as ports: clock, randomness, disk, tasks
