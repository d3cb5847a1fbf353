//! What nodes that are no frontends answer as administration: who they are. Everything else is a frontend's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use lamina_peers::Port;
use lamina_peers::admin::{AdminAnswer, AdminRequest, Bootstrap, Identity};
use lamina_types::{Error, Reason, RequestContext, Result};

use crate::Me;

/// Answers `Identify`.
pub struct IdentityDoor {
    me: Arc<Me>,
    version: String,
    ready: AtomicBool,
    record: OnceLock<Bootstrap>,
}

impl IdentityDoor {
    /// A door that tells who `me` is.
    pub fn new(me: Arc<Me>, version: impl Into<String>) -> IdentityDoor {
        IdentityDoor { me, version: version.into(), ready: AtomicBool::new(false), record: OnceLock::new() }
    }

    /// The bootstrap record that stands on the volume. It never changes: the first one stays.
    pub fn settle_record(&self, record: Bootstrap) {
        self.record.get_or_init(|| record);
    }

    /// The node serves from now on.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Whether the node serves.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Who the node is.
    pub fn identity(&self) -> Identity {
        Identity {
            node: self.me.node(),
            cluster: self.me.cluster(),
            role: self.me.role(),
            name: self.me.name().to_owned(),
            ready: self.is_ready(),
            version: self.version.clone(),
            record: self.record.get().cloned(),
        }
    }
}

#[async_trait]
impl Port<AdminRequest, AdminAnswer> for IdentityDoor {
    async fn call(&self, _: RequestContext, request: AdminRequest) -> Result<AdminAnswer> {
        match request {
            AdminRequest::Identify(_) => Ok(AdminAnswer::Identify(self.identity())),
            other => Err(Error::new(
                Reason::NotOwner,
                format!("{} is answered by frontends, and this is a {} node", other.name(), self.me.role()),
            )),
        }
    }
}
