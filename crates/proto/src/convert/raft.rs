//! Replica to replica.

use lamina_peers::raft::{RaftAnswer, RaftCall, RaftReply, RaftRequest};

use super::{port_twins, twins};
use crate::raft;

twins! {
    RaftCall => raft::RaftCallRequest { group, from, to, bulk, frame }
    RaftReply => raft::RaftCallResponse { frame }
}

port_twins!(RaftRequest, RaftAnswer => raft::op::Request, raft::answer::Answer { RaftCall });
