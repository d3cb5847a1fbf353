//! gRPC as any program speaks it: a channel, and unary calls on it.

use lamina_env::time::Duration;
use tonic::client::Grpc;
use tonic::codec::Streaming;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

use super::Failed;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to one server.
#[derive(Clone, Debug)]
pub(super) struct Channel(tonic::transport::Channel);

impl Channel {
    pub async fn open(address: &str) -> Result<Channel, String> {
        let endpoint =
            Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
        let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(CALL_TIMEOUT).tcp_nodelay(true);
        endpoint.connect().await.map(Channel).map_err(|error| error.to_string())
    }

    /// Calls a method that answers once.
    pub async fn unary<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Failed>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(path);
        let answer = self.ready().await?.unary(tonic::Request::new(request), path, codec).await;
        Ok(answer.map_err(failed)?.into_inner())
    }

    /// Calls a method that answers with a stream.
    pub async fn streaming<Q, A>(&self, path: &'static str, request: Q) -> Result<Answers<A>, Failed>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(path);
        let answer = self.ready().await?.server_streaming(tonic::Request::new(request), path, codec).await;
        Ok(Answers(answer.map_err(failed)?.into_inner()))
    }

    async fn ready(&self) -> Result<Grpc<tonic::transport::Channel>, Failed> {
        let mut grpc = Grpc::new(self.0.clone());
        match grpc.ready().await {
            Ok(()) => Ok(grpc),
            Err(error) => Err(Failed { word: "Unreachable".to_owned(), message: error.to_string() }),
        }
    }
}

/// The messages of one answer.
pub(super) struct Answers<A>(Streaming<A>);

impl<A> Answers<A> {
    /// `None`: that was all.
    pub async fn next(&mut self) -> Result<Option<A>, Failed> {
        self.0.message().await.map_err(failed)
    }
}

fn failed(status: tonic::Status) -> Failed {
    Failed {
        word: format!("{:?}", status.code()),
        message: format!("{:?}: {}", status.code(), status.message()),
    }
}
