//! Messages to peers. One message at a time goes to each peer on each of the library's three connections to it
//! (entries, heartbeats, snapshots); the library awaits its next request before it calls here, so that a peer that is
//! down costs nothing (openraft.md trap 2.1), and whoever drops the answers drops the requests (trap 2.2).

use std::future::Future;
use std::sync::Arc;

use lamina_engine::wal::LogPoint;
use lamina_env::time::Duration;
use lamina_types::{GroupId, Reason, ReplicaId};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend};

use super::applier::{LibrarySnapshot, SnapshotFile};
use super::entry::to_record;
use super::frame::{Answer, Append, Appended, Ask, Candidacy, Transfer};
use super::peers::Peers;
use super::types::{Types, Vote, log_id, point, saved_vote, vote};
use crate::checkpoint::Checkpoint;
use crate::options::LogOptions;
use crate::wire::RaftWire;

/// Makes connections to peers.
pub struct Network {
    /// The group.
    pub group: GroupId,
    /// This replica.
    pub me: ReplicaId,
    /// How frames travel.
    pub wire: Arc<dyn RaftWire>,
    /// What is known of the peers.
    pub peers: Peers,
    /// Limits.
    pub options: LogOptions,
}

/// One connection to one peer.
pub struct Connection {
    group: GroupId,
    me: ReplicaId,
    peer: u64,
    wire: Arc<dyn RaftWire>,
    peers: Peers,
    timeout: Duration,
    piece_bytes: usize,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Connection {
        Connection {
            group: self.group,
            me: self.me,
            peer: target,
            wire: self.wire.clone(),
            peers: self.peers.clone(),
            timeout: self.options.message_timeout,
            piece_bytes: self.options.snapshot_piece_bytes,
        }
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &EmptyNode) -> Connection {
        let mut connection = self.new_client(target, node).await;
        connection.timeout = self.options.heartbeat;
        connection
    }
}

impl Connection {
    async fn call(&self, ask: &Ask, bulk: bool) -> Result<Answer, RPCError<Types>> {
        if self.peers.is_shut_out(self.peer) {
            return Err(unreachable("the replica is shut out"));
        }
        let deadline_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        let to = ReplicaId(self.peer);
        let call = self.wire.call(self.group, self.me, to, bulk, deadline_ms, ask.encode());
        // The wire has the deadline too; this one holds even if it forgets (trap 2.19).
        let answer = lamina_env::time::timeout(self.timeout, call).await;
        let frame = match answer {
            Ok(Ok(frame)) => frame,
            Ok(Err(error)) if error.reason() == Reason::DeadlineExceeded => return Err(network(&error)),
            Ok(Err(error)) => return Err(unreachable(&error.to_string())),
            Err(elapsed) => return Err(network(&elapsed)),
        };
        Answer::decode(frame).map_err(|error| unreachable(&error.to_string()))
    }

    async fn ask_vote(
        &self,
        ask: impl FnOnce(Candidacy) -> Ask,
        rpc: VoteRequest<Types>,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let candidacy = Candidacy {
            vote: saved_vote(&rpc.vote),
            last: rpc.last_log_id.as_ref().map(point),
            transfer: rpc.leadership_transfer,
        };
        match self.call(&ask(candidacy), false).await? {
            Answer::Voted { vote: of, last, granted } => {
                Ok(VoteResponse::new(vote(of), last.map(log_id), granted))
            }
            _ => Err(unreachable("the answer is to another question")),
        }
    }

    /// Sends the pieces of a checkpoint; answers the receiver's vote.
    async fn send(&self, of: Vote, checkpoint: &Checkpoint) -> Result<Vote, RPCError<Types>> {
        let leader = saved_vote(&of);
        let transfer = Transfer { term: leader.term, at: checkpoint.head.at.unwrap_or_default() };
        let begin = Ask::SnapshotBegin { transfer, vote: leader, length: checkpoint.length };
        let mut answer = self.call(&begin, true).await?;
        loop {
            let offset = match answer {
                Answer::SnapshotAt(Some(offset)) => offset,
                Answer::SnapshotAt(None) | Answer::SnapshotDamaged => {
                    return Err(network(&Broken("the receiver has given the snapshot up")));
                }
                Answer::SnapshotDone { vote: of } => return Ok(vote(of)),
                _ => return Err(unreachable("the answer is to another question")),
            };
            if offset >= checkpoint.length {
                answer = self.call(&Ask::SnapshotEnd { transfer, vote: leader }, true).await?;
                if matches!(answer, Answer::SnapshotAt(Some(at)) if at >= checkpoint.length) {
                    return Err(network(&Broken("the receiver does not install the snapshot")));
                }
                continue;
            }
            let bytes = checkpoint.read(offset, self.piece_bytes).await.map_err(|error| network(&error))?;
            if bytes.is_empty() {
                return Err(network(&Broken("the checkpoint is shorter than it was")));
            }
            answer = self.call(&Ask::SnapshotPiece { transfer, offset, bytes }, true).await?;
        }
    }
}

impl RaftNetworkV2<Types> for Connection {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let term = rpc.vote.leader_id.term;
        let previous = rpc.prev_log_id.as_ref().map(point);
        let last = rpc.entries.last().map(|entry| point(&entry.log_id)).or(previous);
        // Before it is sent: answers to other messages may come in between.
        let acknowledged = self.peers.acknowledged(self.peer, term);
        let ask = Ask::Append(Append {
            vote: saved_vote(&rpc.vote),
            previous,
            committed: rpc.leader_commit.as_ref().map(point),
            entries: rpc.entries.iter().map(to_record).collect(),
        });
        let Answer::Appended { outcome, clock_ms } = self.call(&ask, false).await? else {
            return Err(unreachable("the answer is to another question"));
        };
        self.peers.heard(self.peer, clock_ms);
        let acknowledge = |at: Option<LogPoint>| {
            if let Some(at) = at {
                self.peers.acknowledge(self.peer, term, at);
            }
        };
        Ok(match outcome {
            Appended::All => {
                acknowledge(last);
                AppendEntriesResponse::Success
            }
            Appended::UpTo(at) => {
                acknowledge(at);
                AppendEntriesResponse::PartialSuccess(at.map(log_id))
            }
            Appended::Conflict => {
                let Some(previous) = previous else {
                    return Err(unreachable("the replica rejects the beginning of the log"));
                };
                if let Some(acknowledged) =
                    acknowledged.filter(|acknowledged| acknowledged.index >= previous.index)
                {
                    self.peers.shut_out(self.peer, previous, acknowledged);
                    return Err(unreachable("the replica is shut out"));
                }
                AppendEntriesResponse::Conflict
            }
            Appended::HigherVote(higher) => AppendEntriesResponse::HigherVote(vote(higher)),
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(Ask::Vote, rpc).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(Ask::PreVote, rpc).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: LibrarySnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let SnapshotFile::Here(checkpoint) = snapshot.snapshot else {
            return Err(network(&Broken("a snapshot that is not in its place is not sent")).into());
        };
        let cancel = std::pin::pin!(cancel);
        let send = std::pin::pin!(self.send(vote, &checkpoint));
        match futures::future::select(cancel, send).await {
            futures::future::Either::Left((closed, _)) => Err(StreamingError::Closed(closed)),
            futures::future::Either::Right((sent, _)) => Ok(SnapshotResponse::new(sent?)),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let ask = Ask::Transfer {
            from: saved_vote(req.from_leader()),
            to: *req.to_node_id(),
            last: req.last_log_id().map(point),
        };
        match self.call(&ask, false).await? {
            Answer::Transferred { accepted: true } => Ok(Ok(())),
            Answer::Transferred { accepted: false } => Err(unreachable("the replica does not take over now")),
            _ => Err(unreachable("the answer is to another question")),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(&'static str);

fn unreachable(why: &str) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::from_string(why))
}

fn network<E: std::error::Error + 'static>(error: &E) -> RPCError<Types> {
    RPCError::Network(NetworkError::new(error))
}
