//! The library's settings. Rule G7 and research/openraft.md §4 say why; the test below holds them.

use std::sync::Arc;

use lamina_env::time::Duration;
use openraft::{Config, SnapshotPolicy};

use crate::options::LogOptions;

/// The settings of one replica. A shut one does not campaign.
///
/// # Errors
/// The timings contradict each other, in words.
pub fn config(options: &LogOptions, shut: bool) -> Result<Arc<Config>, String> {
    let config = Config {
        cluster_name: "lamina".to_owned(),
        heartbeat_interval: ms(options.heartbeat),
        heartbeat_min_interval: Some(0),
        election_timeout_min: ms(options.election_min),
        election_timeout_max: ms(options.election_max),
        enable_elect: !shut,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        snapshot_policy: SnapshotPolicy::Never,
        // Our keeper says when the log is cut; the library never does so by itself.
        max_in_snapshot_log_to_keep: u64::MAX,
        purge_batch_size: 1,
        replication_lag_threshold: u64::MAX,
        max_payload_entries: 64,
        install_snapshot_timeout: ms(Duration::from_secs(30)),
        backoff: "50ms 100ms 200ms ...500ms".to_owned(),
        broadcast_submitted_on_append: None,
        quorum_loss_probe_interval: None,
        api_batch_linger_ms: 0,
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|error| error.to_string())
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use openraft::RaftTypeConfig;

    use super::*;
    use crate::raft::Types;

    #[test]
    fn the_settings_are_those_that_the_protocols_rest_on() {
        let config = config(&LogOptions::default(), false).unwrap();
        assert_eq!(config.enable_pre_vote, Some(true));
        assert_eq!(config.enable_leader_restore, Some(false));
        assert_eq!(config.allow_log_reversion, Some(false));
        assert_eq!(config.snapshot_policy, SnapshotPolicy::Never);
        assert_eq!(config.max_in_snapshot_log_to_keep, u64::MAX);
        assert_eq!(
            (config.heartbeat_interval, config.election_timeout_min, config.election_timeout_max),
            (100, 200, 400)
        );
        assert_eq!(config.install_snapshot_timeout, 30_000);
        assert!(config.enable_elect && config.enable_tick && config.enable_heartbeat);
        assert_eq!(config.build_backoff().take(3).map(ms).collect::<Vec<_>>(), [50, 100, 200]);
        assert!(config.build_backoff().take(50).all(|pause| pause <= Duration::from_millis(500)));
    }

    #[test]
    fn a_term_has_one_leader() {
        type LeaderId = <Types as RaftTypeConfig>::LeaderId;
        let one = LeaderId { term: 3, voted_for: 1 };
        let other = LeaderId { term: 3, voted_for: 2 };
        assert_eq!(one.partial_cmp(&other), None, "leaders of one term must not be comparable");
    }

    #[test]
    fn a_shut_replica_does_not_campaign() {
        assert!(!config(&LogOptions::default(), true).unwrap().enable_elect);
    }
}
