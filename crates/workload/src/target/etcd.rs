//! The little of etcd's v3 API that the load generator needs, by hand: `etcdserverpb/rpc.proto`, `mvccpb/kv.proto`.

use bytes::Bytes;

use super::grpc::Channel;
use super::{Ask, Brought, Failed};

/// A channel to one member.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
}

/// `etcdserverpb.PutRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// `etcdserverpb.RangeRequest`; serializable is left false: the read is linearizable.
#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: Bytes,
    #[prost(int64, tag = "3")]
    limit: i64,
}

/// `etcdserverpb.RangeResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

/// `mvccpb.KeyValue`.
#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
}

/// `etcdserverpb.DeleteRangeRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct DeleteRangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
}

/// An answer of which nothing is wanted but that it came.
#[derive(Clone, PartialEq, prost::Message)]
struct Done {}

impl Connection {
    pub(super) async fn open(address: &str) -> Result<Connection, String> {
        Ok(Connection { channel: Channel::open(address).await? })
    }

    pub(super) async fn call(&self, ask: Ask) -> Result<Brought, Failed> {
        match ask {
            Ask::Get { key } => {
                let request = RangeRequest { key, range_end: Bytes::new(), limit: 1 };
                self.range(request).await
            }
            Ask::Scan { from, rows } => {
                // A range end of one zero byte means: to the last key.
                let range_end = Bytes::from_static(b"\0");
                self.range(RangeRequest { key: from, range_end, limit: i64::from(rows) }).await
            }
            Ask::Put { key, value } => {
                self.channel.unary::<_, Done>("/etcdserverpb.KV/Put", PutRequest { key, value }).await?;
                Ok(Brought::default())
            }
            Ask::Delete { key } => {
                self.channel
                    .unary::<_, Done>("/etcdserverpb.KV/DeleteRange", DeleteRangeRequest { key })
                    .await?;
                Ok(Brought::default())
            }
        }
    }

    async fn range(&self, request: RangeRequest) -> Result<Brought, Failed> {
        let response: RangeResponse = self.channel.unary("/etcdserverpb.KV/Range", request).await?;
        let bytes = response.kvs.iter().map(|kv| (kv.key.len() + kv.value.len()) as u64).sum();
        Ok(Brought { rows: response.kvs.len() as u64, bytes })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn messages_have_the_tags_of_etcds_protocol() {
        let put = PutRequest { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v") };
        assert_eq!(put.encode_to_vec(), b"\x0a\x01k\x12\x01v");
        let range = RangeRequest { key: Bytes::from_static(b"k"), range_end: Bytes::new(), limit: 1 };
        assert_eq!(range.encode_to_vec(), b"\x0a\x01k\x18\x01");
        // header {}, kvs [{key "k", create_revision 2, mod_revision 3, version 1, value "v"}], count 1
        let response =
            RangeResponse::decode(&b"\x0a\x00\x12\x0c\x0a\x01k\x10\x02\x18\x03\x20\x01\x2a\x01v\x20\x01"[..]);
        let kv = KeyValue { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v") };
        assert_eq!(response.unwrap().kvs, [kv]);
    }
}
