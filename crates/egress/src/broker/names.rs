//! Names inside an environment, answered over its sockets.

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::broker::environment::Environment;
use crate::name::Name;

#[derive(Debug, Default)]
pub(crate) struct Names;

impl Names {
    pub(crate) fn name_of(&self, _address: IpAddr) -> Option<Name> {
        None
    }
}

pub(crate) fn serve(_environment: &Arc<Environment>, _sockets: Vec<UdpSocket>) {}

pub(crate) async fn serve_stream(_environment: &Arc<Environment>, _stream: TcpStream) {}
