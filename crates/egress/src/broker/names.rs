//! Names inside an environment, answered over its sockets.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::broker::environment::Environment;
use crate::dns::Pins;
use crate::name::Name;

#[derive(Debug, Default)]
pub(crate) struct Names {
    pins: Pins,
}

impl Names {
    pub(crate) fn name_of(&self, address: IpAddr) -> Option<Name> {
        self.pins.name(address).cloned()
    }

    pub(crate) fn pin(&mut self, name: &Name) -> Option<Ipv4Addr> {
        self.pins.pin(name)
    }
}

pub(crate) fn serve(_environment: &Arc<Environment>, _sockets: Vec<UdpSocket>) {}

pub(crate) async fn serve_stream(_environment: &Arc<Environment>, _stream: TcpStream) {}
