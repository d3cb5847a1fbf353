//! Pure placement: shard maps, table copies, replicas
