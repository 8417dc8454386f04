//! The runner's view of the control plane: it only ever dials out.

use async_trait::async_trait;
use model::egress::EgressBatch;
use model::exec::ExecBatch;
use model::protocol::{
    Assignment, ClaimRequest, Directive, Heartbeat, HeartbeatAnswer, LogChunk, Recall,
    ReportRequest,
};

/// Why the control plane did not answer as hoped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlPlaneError {
    /// It cannot be reached or is busy: try again.
    #[error("the control plane is not available: {0}")]
    Unavailable(String),
    /// The message makes no sense to it: a bug, or another version.
    #[error("the control plane refused the message: {0}")]
    Refused(String),
}

/// What a runner may ask. The embedded runner calls it in the same process; a remote one sends
/// the same messages over HTTP.
#[async_trait]
pub trait ControlPlane: Send + Sync + 'static {
    /// Work, if there is some. Returns at once, possibly with nothing.
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Assignment>, ControlPlaneError>;

    /// Resolves when there may be work again; a hint, never truth.
    async fn work_arrived(&self);

    /// Records what happened, and says how to go on. A stale epoch gives [`Directive::Release`].
    async fn report(&self, request: ReportRequest) -> Result<Directive, ControlPlaneError>;

    /// Extends leases, and learns of tasks to let go.
    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatAnswer, ControlPlaneError>;

    /// Tasks that this runner must stop at once, with the work kept. Resolves when there are some;
    /// said again while they are not given back.
    async fn recalled(&self, runner: &str) -> Vec<Recall> {
        let _ = runner;
        std::future::pending().await
    }

    /// Live log lines; losing some is no harm, the whole log follows as a blob.
    async fn log(&self, chunk: LogChunk);

    /// Records what exec control refused or saw. Sending a batch again is no second one.
    async fn exec_events(&self, batch: ExecBatch) -> Result<(), ControlPlaneError>;

    /// Records what left environments or was kept from leaving. Sending a batch again is no second
    /// one.
    async fn egress_events(&self, batch: EgressBatch) -> Result<(), ControlPlaneError>;

    /// Stores blobs durably; their digests, in order.
    async fn put_blobs(&self, blobs: Vec<Vec<u8>>) -> Result<Vec<String>, ControlPlaneError>;

    /// Reads a blob.
    async fn get_blob(&self, digest: &str) -> Result<Vec<u8>, ControlPlaneError>;
}
