//! One connection: what it is about, and who carries it on.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use model::egress::{EgressKind, EgressRefusal};
use model::network::NetworkProtocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::broker::environment::{Environment, Happened};
use crate::broker::http::serve;
use crate::broker::io::{Prefixed, Stream};
use crate::broker::judge::{Facts, Scheme};
use crate::broker::refusal::Refusal;
use crate::broker::tunnel::{self, Tally};
use crate::broker::{names, secure};
use crate::name::Host;
use crate::policy::Permit;

/// The port on which explicit proxies usually listen.
const PROXY_PORT: u16 = 3128;
const NAMES_PORT: u16 = 53;

/// Where somebody inside connected to.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// The address that was dialled inside.
    pub(crate) address: IpAddr,
}

impl Place {
    pub(crate) fn happened(&self, kind: EgressKind) -> Happened {
        Happened {
            kind,
            host: self.host.to_string(),
            port: self.port,
            detail: String::new(),
            rule: String::new(),
            address: Some(self.address),
        }
    }
}

/// Takes a connection that arrived on a listener of an environment.
pub(crate) async fn arrived(environment: Arc<Environment>, stream: TcpStream, port: u16) {
    let address = stream
        .local_addr()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |local| {
            local.ip().to_canonical()
        });
    let place = Place {
        host: Host::Address(address),
        port,
        address,
    };
    let Some(held) = environment.volume.connection() else {
        let happened = place.happened(EgressKind::Connection);
        return environment.refuse(&happened, &EgressRefusal::VolumeExhausted.into());
    };
    if port == NAMES_PORT {
        tokio::select! {
            () = environment.stopped() => {}
            () = names::serve_stream(&environment, stream) => {}
        }
        return;
    }
    tokio::select! {
        () = environment.stopped() => {
            environment.refuse(
                &place.happened(EgressKind::Connection),
                &EgressRefusal::Stopped.into(),
            );
        }
        () = begin(&environment, stream, place.clone()) => {}
    }
    drop(held);
}

async fn begin(environment: &Arc<Environment>, stream: TcpStream, mut place: Place) {
    if let Some(host) = environment.host_at(place.address, place.port) {
        place.host = host;
        return carry(Arc::clone(environment), stream, place).await;
    }
    // An explicit proxy is at no host's address, and says in each request whom it means.
    let proxy = place.port == PROXY_PORT || place.port == 80;
    if proxy && place.address.is_loopback() {
        let facts = Facts::proxy(&place);
        return serve(Arc::clone(environment), stream, facts, false).await;
    }
    refused(
        environment,
        stream,
        place,
        EgressRefusal::AddressNotNamed.into(),
    )
    .await;
}

/// Carries a connection to a host that is known, as far as it is permitted. Boxed, since what is
/// tunnelled through a proxy's request comes here again.
pub(crate) fn carry<S: Stream>(
    environment: Arc<Environment>,
    stream: S,
    place: Place,
) -> futures_util::future::BoxFuture<'static, ()> {
    Box::pin(async move {
        let permit = match environment.permit(&place.host, place.port) {
            Ok(permit) => permit,
            Err(refusal) => return refused(&environment, stream, place, refusal).await,
        };
        let happened = place.happened(EgressKind::Connection);
        tokio::select! {
            biased;
            refusal = environment.cut(&place.host, place.port) => {
                environment.refuse(&happened, &refusal);
            }
            () = permitted(&environment, stream, &place, permit) => {}
        }
    })
}

async fn permitted<S: Stream>(
    environment: &Arc<Environment>,
    stream: S,
    place: &Place,
    permit: Permit,
) {
    let environment = Arc::clone(environment);
    match permit.protocol {
        NetworkProtocol::Https => secure::end(environment, stream, place).await,
        NetworkProtocol::Tls => secure::pass(environment, stream, place, permit).await,
        NetworkProtocol::Http => {
            serve(environment, stream, Facts::at(place, Scheme::Http), false).await;
        }
        NetworkProtocol::Tcp => splice(&environment, stream, place, &permit).await,
    }
}

/// Dials and carries bytes.
pub(crate) async fn splice<S: Stream>(
    environment: &Arc<Environment>,
    stream: S,
    place: &Place,
    permit: &Permit,
) {
    let mut happened = place.happened(EgressKind::Connection);
    happened.rule.clone_from(&permit.rule);
    happened.detail = String::from("tunnelled, content not looked at");
    let outside = &environment.shared.outside;
    let dialled = outside
        .dial(environment, &place.host, place.port, permit.private)
        .await;
    match dialled {
        Ok(dialled) => {
            happened.address = dialled.address;
            let tally = Tally::new(environment, happened);
            tunnel::carry(stream, dialled.stream, permit, &tally).await;
        }
        Err(code) => environment.record(&happened, Some(code), (0, 0)),
    }
}

/// Ends a connection that is not permitted, in the words of its protocol where they are known.
pub(crate) async fn refused<S: Stream>(
    environment: &Arc<Environment>,
    mut stream: S,
    place: Place,
    refusal: Refusal,
) {
    let mut first = [0; 1];
    let limit = environment.volume.limits().head();
    let read = tokio::time::timeout(limit, stream.read(&mut first)).await;
    let begins = matches!(read, Ok(Ok(1))).then_some(first[0]);
    match begins {
        Some(0x16) => {
            let stream = Prefixed::new(first.to_vec(), stream);
            secure::refuse(environment, stream, place, &refusal).await;
        }
        Some(b'A'..=b'Z') => {
            let stream = Prefixed::new(first.to_vec(), stream);
            let facts = Facts::refused(&place, refusal);
            serve(Arc::clone(environment), stream, facts, false).await;
        }
        _ => {
            environment.refuse(&place.happened(EgressKind::Connection), &refusal);
            let _ = stream.shutdown().await;
        }
    }
}
