//! Lamina by the unary methods of its `lamina.kv.v1.Kv`: what a program without a client library pays.

use lamina_proto::kv::{
    DeleteRequest, DeleteResponse, GetRequest, GetResponse, PutRequest, PutResponse, ScanRequest,
    ScanResponse, scan_request,
};
use lamina_proto::types::KeyRange;

use super::grpc::Channel;
use super::{Ask, Brought, Failed};

/// A channel to one frontend.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
}

impl Connection {
    pub(super) async fn open(address: &str) -> Result<Connection, String> {
        Ok(Connection { channel: Channel::open(address).await? })
    }

    pub(super) async fn call(&self, ask: Ask) -> Result<Brought, Failed> {
        match ask {
            Ask::Get { key } => {
                let request = GetRequest { key, at: None };
                let answer: GetResponse = self.channel.unary("/lamina.kv.v1.Kv/Get", request).await?;
                let found = answer.found.map(|found| Brought { rows: 1, bytes: found.value.len() as u64 });
                Ok(found.unwrap_or_default())
            }
            Ask::Put { key, value } => {
                let request = PutRequest { key, value, ..PutRequest::default() };
                self.channel.unary::<_, PutResponse>("/lamina.kv.v1.Kv/Put", request).await?;
                Ok(Brought::default())
            }
            Ask::Delete { key } => {
                let request = DeleteRequest { key, ..DeleteRequest::default() };
                self.channel.unary::<_, DeleteResponse>("/lamina.kv.v1.Kv/Delete", request).await?;
                Ok(Brought::default())
            }
            Ask::Scan { from, rows } => {
                let keys = scan_request::Keys::Range(KeyRange { start: from, end: None });
                let request = ScanRequest { keys: Some(keys), limit: rows, ..ScanRequest::default() };
                self.scan(request).await
            }
        }
    }

    async fn scan(&self, request: ScanRequest) -> Result<Brought, Failed> {
        let mut answers = self.channel.streaming::<_, ScanResponse>("/lamina.kv.v1.Kv/Scan", request).await?;
        let mut brought = Brought::default();
        while let Some(page) = answers.next().await? {
            brought.rows += page.rows.len() as u64;
            brought.bytes +=
                page.rows.iter().map(|row| (row.key.len() + row.value.len()) as u64).sum::<u64>();
        }
        Ok(brought)
    }
}
