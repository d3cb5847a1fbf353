//! The deterministic world: disks, network, faults, whole stores in one seeded thread
