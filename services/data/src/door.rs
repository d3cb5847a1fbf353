//! The door: takes a request of the port, calls one flow, gives its answer.

use async_trait::async_trait;
use lamina_env::time::{self, Duration};
use lamina_peers::Port;
use lamina_peers::data::{DataAnswer, DataRequest};
use lamina_types::{Error, Reason, RequestContext, Result};

use crate::flows::{
    compact, copy, delete, link, list, lookup_tail, read_blocks, read_file, scrub, write_table,
};
use crate::service::DataService;

#[async_trait]
impl Port<DataRequest, DataAnswer> for DataService {
    async fn call(&self, context: RequestContext, request: DataRequest) -> Result<DataAnswer> {
        if let Some(to) = context.to.filter(|to| *to != self.id()) {
            return Err(Error::new(
                Reason::NodeMismatch,
                format!("the call is for node {to}, this is {}; look its address up again", self.id()),
            ));
        }
        let name = request.name();
        let deadline = Duration::from_millis(context.deadline_ms);
        // Steps that change files go on to their end by themselves; only the answer is given up.
        time::timeout(deadline, self.answer(request)).await.unwrap_or_else(|_| {
            Err(Error::new(
                Reason::DeadlineExceeded,
                format!("{name} did not come to its end in {} ms; it may still do", context.deadline_ms),
            ))
        })
    }
}

impl DataService {
    async fn answer(&self, request: DataRequest) -> Result<DataAnswer> {
        let node = &self.node;
        Ok(match request {
            DataRequest::WriteTable(request) => {
                DataAnswer::WriteTable(write_table::write_table(node, request).await?)
            }
            DataRequest::ReadBlocks(request) => {
                DataAnswer::ReadBlocks(read_blocks::read_blocks(node, &request).await?)
            }
            DataRequest::Lookup(request) => DataAnswer::Lookup(lookup_tail::lookup(node, &request).await?),
            DataRequest::Seek(request) => DataAnswer::Seek(lookup_tail::seek(node, &request).await?),
            DataRequest::ReadTail(request) => {
                DataAnswer::ReadTail(read_file::read_tail(node, request).await?)
            }
            DataRequest::ReadFile(request) => {
                DataAnswer::ReadFile(read_file::read_file(node, request).await?)
            }
            DataRequest::CopyTable(request) => DataAnswer::CopyTable(copy::copy_table(node, request).await?),
            DataRequest::LinkTable(request) => DataAnswer::LinkTable(link::link_table(node, request).await?),
            DataRequest::DeleteTables(request) => {
                DataAnswer::DeleteTables(delete::delete_tables(node, request).await?)
            }
            DataRequest::DropCopy(request) => DataAnswer::DropCopy(delete::drop_copy(node, request).await?),
            DataRequest::ListTables(request) => DataAnswer::ListTables(list::list_tables(node, &request)),
            DataRequest::Compact(request) => DataAnswer::Compact(compact::compact(node, request)?),
            DataRequest::JobProgress(request) => {
                DataAnswer::JobProgress(compact::progress(node, request.job))
            }
            DataRequest::CancelJob(request) => DataAnswer::CancelJob(compact::cancel(node, request.job)),
            DataRequest::VerifyTable(request) => {
                DataAnswer::VerifyTable(scrub::verify_table(node, request.table).await?)
            }
            DataRequest::DataStat(_) => DataAnswer::DataStat(list::stats(node).await),
        })
    }
}
